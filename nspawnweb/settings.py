"""All settings, from typed environment variables; `NAME_FILE` reads a secret from a file. Few, and checked at start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from environs import FileAwareEnv

from contract.orders import ORDER_LIFETIME_S as ORDER_LIFETIME_S_DEFAULT
from nspawnweb import logs

env = FileAwareEnv(prefix="NSPAWNWEB_")

BASE_DIR = Path(__file__).resolve().parent.parent
VAR = Path(env.str("VAR", str(BASE_DIR / "var"))).resolve()
"""The one folder of state: database, keys, Redis, agent bundle, lab."""
VAR.mkdir(mode=0o700, parents=True, exist_ok=True)

DEBUG = env.bool("DEBUG", False)
LOGGING_CONFIG = None
logs.configure(env.str("LOG_FORMAT", "text"), env.str("LOG_LEVEL", "INFO").upper())


def _secret_key() -> str:
    """From the environment, else made once and kept in the state folder (0600)."""
    if given := env.str("SECRET_KEY", ""):
        return given
    path = VAR / "secret-key"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(fd, "w") as file:
        file.write(os.urandom(48).hex())
    return path.read_text().strip()


SECRET_KEY = _secret_key()

# --- Addresses -----------------------------------------------------------------------------------------------------
PUBLIC_URL = env.str("PUBLIC_URL", "http://localhost:8000")
"""Where browsers reach the portal."""
AGENT_URL = env.str("AGENT_URL", "").rstrip("/")
"""Where hosts reach the portal: HTTPS with a certificate of the portal's own CA. Empty: this machine's own address."""
AGENT_PORT = env.int("AGENT_PORT", 8443)
"""Port of the hosts' listener, for lines that are made without AGENT_URL."""
REDIS_HOST_PORT = env.int("AGENT_REDIS_PORT", 8444)
"""TLS port of Redis that hosts dial; its address is the one by which they reached the portal unless set below."""
AGENT_REDIS_HOST = env.str("AGENT_REDIS_HOST", "")
AGENT_NAMES: list[str] = env.list("AGENT_NAMES", [])
"""More names by which hosts may dial: they stand in the server certificate, beside every address of this machine."""
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", ["*"])
CSRF_TRUSTED_ORIGINS = env.list("TRUSTED_ORIGINS", [PUBLIC_URL])
"""Origins, with scheme and port, whose forms and WebSockets are taken."""
BEHIND_TLS = PUBLIC_URL.startswith("https://")
if BEHIND_TLS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# --- Redis ---------------------------------------------------------------------------------------------------------


def _private_redis() -> str:
    """The socket of the Redis that `./dev up` keeps in the state folder, with the password that lies beside it."""
    password = VAR / "redis" / "portal-password"
    user = f"portal:{quote(password.read_text().strip(), safe='')}@" if password.exists() else ""
    return f"unix://{user}{VAR}/redis/redis.sock"


REDIS_URL = env.str("REDIS_URL", "") or _private_redis()
"""The portal's own way to Redis, with all rights. unix://, redis:// or rediss://."""

# --- Jobs ----------------------------------------------------------------------------------------------------------
ORDER_LIFETIME_S = env.int("ORDER_LIFETIME_S", ORDER_LIFETIME_S_DEFAULT)
"""How long an order waits for a host that is off, in seconds; then its job fails."""
JOB_SILENT_S = env.int("JOB_SILENT_S", 120)
"""After this long without a word on a running job its host is asked again, and an operator may declare it lost."""
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", 0)
"""Reverse proxies in front of the portal that add to X-Forwarded-For; 0: the header is ignored."""

# --- Keys ----------------------------------------------------------------------------------------------------------
PKI_DIR = VAR / "pki"
"""CA, order key and certificate (RSA), live key (Ed25519), the HTTPS certificate for hosts."""
AGENT_BUNDLE_DIR = VAR / "agent-bundle"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "channels",
    "ninja",
    "django_htmx",
    "template_partials",
    "csp",
    "allauth",
    "allauth.account",
    "audit",
    "teams",
    "tasks",
    "machines",
]

MIDDLEWARE = [
    "audit.middleware.RequestContextMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.gzip.GZipMiddleware",  # pages of 60 kB become 6; Django pads them against BREACH
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "teams.middleware.HtmxLoginMiddleware",
    "teams.middleware.PortalErrorMiddleware",
]

ROOT_URLCONF = "nspawnweb.urls"
ASGI_APPLICATION = "nspawnweb.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]


def _database() -> dict[str, Any]:
    """`DATABASE_URL`: sqlite:////path or postgresql://user:password@host:port/name (or ?host=/socket/dir)."""
    url = urlsplit(env.str("DATABASE_URL", f"sqlite:///{VAR}/portal.sqlite3"))
    if url.scheme == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": unquote(url.path),
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=20000;",
            },
        }
    if url.scheme in {"postgres", "postgresql"}:
        query = dict(part.split("=", 1) for part in url.query.split("&") if "=" in part)
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(url.path.lstrip("/")),
            "USER": unquote(url.username or ""),
            "PASSWORD": unquote(url.password or ""),
            "HOST": unquote(query.get("host", url.hostname or "")),
            "PORT": str(url.port or ""),
            "CONN_HEALTH_CHECKS": True,
        }
    raise ImproperlyConfigured(
        f"NSPAWNWEB_DATABASE_URL begins with {url.scheme!r}. Write sqlite:////absolute/path or postgresql://…"
    )


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "portal:channels"},
    }
}

AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "teams.accounts.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = VAR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}
