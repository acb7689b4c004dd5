"""The releases that come with the portal. An operator may change them; a later migration leaves changed rows alone."""

from django.db import migrations

UBUNTU = ["main", "universe"]
RELEASES = [
    # slug, title, distribution, suite, components, position
    ("debian-bookworm", "Debian 12 (bookworm)", "debian", "bookworm", ["main"], 20),
    ("debian-trixie", "Debian 13 (trixie)", "debian", "trixie", ["main"], 10),
    ("debian-bullseye", "Debian 11 (bullseye)", "debian", "bullseye", ["main"], 30),
    ("debian-sid", "Debian unstable (sid)", "debian", "sid", ["main"], 40),
    ("ubuntu-resolute", "Ubuntu 26.04 LTS (resolute)", "ubuntu", "resolute", UBUNTU, 50),
    ("ubuntu-questing", "Ubuntu 25.10 (questing)", "ubuntu", "questing", UBUNTU, 60),
    ("ubuntu-noble", "Ubuntu 24.04 LTS (noble)", "ubuntu", "noble", UBUNTU, 70),
    ("ubuntu-jammy", "Ubuntu 22.04 LTS (jammy)", "ubuntu", "jammy", UBUNTU, 80),
]


def add(apps, schema_editor):
    release = apps.get_model("machines", "Release")
    for slug, title, distribution, suite, components, position in RELEASES:
        values = {
            "title": title,
            "distribution": distribution,
            "suite": suite,
            "components": components,
            "position": position,
        }
        release.objects.get_or_create(slug=slug, defaults=values)


class Migration(migrations.Migration):
    dependencies = [("machines", "0001_initial")]
    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
