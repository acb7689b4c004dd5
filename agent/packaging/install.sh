#!/bin/sh
# Installer of nspawnweb's host agent, served by the portal. Run it as root:
#   sh install.sh --portal URL --pin sha256//… --token T --bundle-sha256 HEX   install, or repair, and enrol
#   sh install.sh --portal URL --pin sha256//… --bundle-sha256 HEX --upgrade   a newer agent, same enrolment
#   sh install.sh uninstall                                                    containers stay
# Everything is in functions and the last line calls them: a download that was cut runs nothing.
set -eu

BASE=/opt/nspawnweb-agent
ETC=/etc/nspawnweb-agent
UNITS=/etc/systemd/system
LINK=/usr/local/bin/nspawnweb-agent
SERVICES="nspawnweb-agent-jobs.service nspawnweb-agent-live.service"
WORK=""

say() { printf 'nspawnweb: %s\n' "$*"; }

die() {
	printf 'nspawnweb: %s\n' "$1" >&2
	[ $# -lt 2 ] || printf '  %s\n' "$2" >&2
	exit 1
}

clean() { [ -z "$WORK" ] || rm -rf -- "$WORK"; }

need_root_and_systemd() {
	[ "$(id -u)" = 0 ] || die "This needs root." "Run it with sudo, or in a root shell."
	[ -d /run/systemd/system ] || die "This host is not run by systemd." "Use one whose PID 1 is systemd."
	command -v apt-get >/dev/null || die "This is not a Debian or Ubuntu system." "The agent needs one."
}

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]; }

# Debian packages that the agent needs, and those that are good to have where the release has them.
install_packages() {
	missing=""
	for package in systemd-container python3 python3-venv mmdebstrap debootstrap debian-archive-keyring \
		btrfs-progs zstd nftables curl ca-certificates dbus; do
		is_installed "$package" || missing="$missing $package"
	done
	if has_candidate ubuntu-keyring; then missing="$missing ubuntu-keyring"; fi
	[ -n "$missing" ] || return 0
	say "installing Debian packages:$missing"
	export DEBIAN_FRONTEND=noninteractive
	# The list may be old or absent; only if a package is not found with it is it fetched.
	# shellcheck disable=SC2086
	apt-get install -y -q --no-install-recommends $missing >"$WORK/apt.log" 2>&1 && return 0
	apt-get update -q >"$WORK/apt.log" 2>&1 || die "The package lists cannot be fetched." "$(tail -n 3 "$WORK/apt.log")"
	# shellcheck disable=SC2086
	apt-get install -y -q --no-install-recommends $missing >"$WORK/apt.log" 2>&1 ||
		die "These packages cannot be installed:$missing" "$(tail -n 5 "$WORK/apt.log")"
}

has_candidate() {
	is_installed "$1" && return 1
	apt-cache policy "$1" 2>/dev/null | grep -q 'Candidate: [^(]'
}

# networkd gives containers their addresses. It touches no interface that has no .network file of its own; waiting for
# all of them at boot, which comes with it, would delay hosts whose network is not its affair.
enable_networkd() {
	[ "$(systemctl is-active systemd-networkd.service || true)" = active ] && return 0
	say "starting systemd-networkd, which gives containers their addresses"
	waits=$(systemctl is-enabled systemd-networkd-wait-online.service 2>/dev/null || true)
	systemctl enable --quiet --now systemd-networkd.service
	[ "$waits" = enabled ] || systemctl disable --quiet systemd-networkd-wait-online.service 2>/dev/null || true
}

# Linux allows root's containers 128 inotify instances in all, and each systemd takes some. More is left as it is.
allow_many_containers() {
	[ "$(cat /proc/sys/fs/inotify/max_user_instances)" -lt 1024 ] || return 0
	say "allowing more inotify instances (/etc/sysctl.d/60-nspawnweb-agent.conf)"
	printf 'fs.inotify.max_user_instances = 1024\n' >/etc/sysctl.d/60-nspawnweb-agent.conf
	echo 1024 >/proc/sys/fs/inotify/max_user_instances
}

prepare_pool() {
	mkdir -p /var/lib/machines
	chmod 0700 /var/lib/machines
}

check_python() {
	python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
		die "Python $(python3 -V 2>&1 | cut -d" " -f2) is too old." "The agent needs 3.11 to 3.13: Debian 12 or newer."
}

fetch_bundle() {
	say "fetching the agent from $PORTAL"
	curl -fsSk --retry 2 --max-time 600 --pinnedpubkey "$PIN" -o "$WORK/bundle.tar" "$PORTAL/agent/bundle.tar" ||
		die "The agent cannot be fetched from $PORTAL." "Check the address and the pin, and that this host may connect."
	printf '%s  %s\n' "$SHA256" "$WORK/bundle.tar" | sha256sum -c --status ||
		die "The bundle is not the one that the line names." "The portal has a newer one: copy the line anew."
	mkdir "$WORK/bundle"
	tar -xf "$WORK/bundle.tar" -C "$WORK/bundle" --no-same-owner
	(cd "$WORK/bundle" && sha256sum -c --status SHA256SUMS) || die "The bundle is damaged."
}

# Each bundle has a directory of its own, and "current" is exchanged at the end: an upgrade that fails changes nothing.
install_agent() {
	place=$BASE/$(printf %.16s "$SHA256")
	if [ ! -e "$place/.complete" ]; then
		fetch_bundle
		rm -rf -- "$place"
		mkdir -p "$BASE"
		python3 -m venv "$place" || die "The virtual environment cannot be made." "apt-get install python3-venv"
		"$place/bin/pip" install -q --no-index --no-deps --disable-pip-version-check --require-hashes \
			--find-links "$WORK/bundle" -r "$WORK/bundle/requirements.txt" 2>"$WORK/pip.log" ||
			die "The agent's packages cannot be installed." "$(tail -n 5 "$WORK/pip.log")"
		touch "$place/.complete"
		say "installed in $place"
	fi
	ln -sfn "$place" "$BASE/current.new"
	mv -T "$BASE/current.new" "$BASE/current"
	ln -sfn "$BASE/current/bin/nspawnweb-agent" "$LINK"
}

drop_former() {
	for old in "$BASE"/*; do
		[ -L "$old" ] || [ "$old" = "$place" ] || rm -rf -- "$old"
	done
}

enrolled_and_well() {
	[ -f "$ETC/config.json" ] && grep -qF "\"$PORTAL\"" "$ETC/config.json" &&
		"$LINK" doctor | grep -Eq '^ok +Redis '
}

enrol() {
	if [ "$UPGRADE" = yes ]; then
		[ -f "$ETC/config.json" ] || die "This host is not enrolled." "Use the line that the portal shows under Add host."
		return 0
	fi
	if enrolled_and_well; then
		say "this host is enrolled already; it stays so"
		return 0
	fi
	printf '%s\n' "$TOKEN" | "$LINK" enrol "$PORTAL" --pin "$PIN" --token - --force
}

start_units() {
	units=$("$BASE/current/bin/python" -c 'import agent, os; print(os.path.join(os.path.dirname(agent.__file__), "units"))')
	for unit in $SERVICES; do
		install -m 0644 "$units/$unit" "$UNITS/$unit"
	done
	systemctl daemon-reload
	# shellcheck disable=SC2086
	systemctl enable --quiet $SERVICES
	# shellcheck disable=SC2086
	systemctl restart $SERVICES
}

uninstall() {
	need_root_and_systemd
	for unit in $SERVICES; do
		systemctl disable --quiet --now "$unit" 2>/dev/null || true
		rm -f -- "$UNITS/$unit"
	done
	systemctl daemon-reload
	rm -rf -- "$BASE" "$ETC" /run/nspawnweb-agent
	rm -f -- "$LINK" /etc/sysctl.d/60-nspawnweb-agent.conf
	if [ "$PURGE" = yes ]; then
		rm -rf -- /var/lib/nspawnweb-agent
	fi
	say "the agent is removed; containers and base images stay in /var/lib/machines"
}

value() { [ $# -ge 2 ] && [ -n "$2" ] || die "$1 needs a value."; }

main() {
	PORTAL="" PIN="" TOKEN="" SHA256="" UPGRADE=no UNINSTALL=no PURGE=no
	while [ $# -gt 0 ]; do
		case $1 in
		--portal) value "$@"; PORTAL=${2%/}; shift ;;
		--pin) value "$@"; PIN=$2; shift ;;
		--token) value "$@"; TOKEN=$2; shift ;;
		--bundle-sha256) value "$@"; SHA256=$2; shift ;;
		--upgrade) UPGRADE=yes ;;
		uninstall | --uninstall) UNINSTALL=yes ;;
		--purge) PURGE=yes ;;
		*) die "Unknown argument $1." "Copy the line from the portal, Hosts, Add host." ;;
		esac
		shift
	done
	if [ "$UNINSTALL" = yes ]; then
		uninstall
		return 0
	fi
	[ -n "$PORTAL" ] && [ -n "$PIN" ] && [ -n "$SHA256" ] || die "Give --portal, --pin and --bundle-sha256."
	[ -n "$TOKEN" ] || [ "$UPGRADE" = yes ] || die "Give --token, or --upgrade to keep the enrolment."
	need_root_and_systemd
	umask 022
	trap clean EXIT
	WORK=$(mktemp -d)
	install_packages
	check_python
	enable_networkd
	prepare_pool
	allow_many_containers
	install_agent
	enrol
	start_units
	drop_former
	"$LINK" doctor || say "mend what FAILs above; the host is enrolled and the portal shows the same list"
	say "done"
}

main "$@"
