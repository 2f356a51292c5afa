"""Django's settings. What an operator may change is read by `environment`; everything else is decided here."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from csp.constants import NONCE, NONE, SELF
from django.utils.translation import gettext_lazy as _
from psycopg.conninfo import conninfo_to_dict

from menhir.postgres import embedded, pools, roles
from menhir.telemetry import logs
from menhir.wiring import environment, staff

# --- Where we are -----------------------------------------------------------------------------------------------------
BASE_DIR = environment.ROOT
MENHIR_HOME = environment.home()
PORT = environment.number("PORT", 8000, least=1, most=65535)
MENHIR_DOCUMENTATION = environment.folder("MENHIR_DOCUMENTATION")
MENHIR_PUBLIC_URL = environment.text("MENHIR_PUBLIC_URL", f"http://127.0.0.1:{PORT}").rstrip("/")
_public = urlsplit(MENHIR_PUBLIC_URL)
_https = _public.scheme == "https"

SECRET_KEY = environment.secret_key(MENHIR_HOME)
MENHIR_MASTER_KEYS, MENHIR_MASTER_KEYS_FILE = environment.master_keys(MENHIR_HOME)
DEBUG = False
ALLOWED_HOSTS = environment.words("MENHIR_HOSTS", ["localhost", "127.0.0.1", "[::1]", _public.hostname or "localhost"])
CSRF_TRUSTED_ORIGINS = [MENHIR_PUBLIC_URL]
MENHIR_BEHIND_PROXY = bool(environment.text("MENHIR_BEHIND_PROXY", ""))
if MENHIR_BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    ALLAUTH_TRUSTED_PROXY_COUNT = 1  # else one guesser at the sign-in page would lock out everybody behind the proxy

# --- Limits -----------------------------------------------------------------------------------------------------------
MENHIR_UPLOAD_LIMIT_BYTES = environment.number("MENHIR_UPLOAD_LIMIT_BYTES", 25 * 1024 * 1024, least=1024)
MENHIR_BODY_LIMIT_BYTES = environment.number("MENHIR_BODY_LIMIT_BYTES", 10 * 1024 * 1024, least=1024)
DATA_UPLOAD_MAX_MEMORY_SIZE = MENHIR_UPLOAD_LIMIT_BYTES + 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2_000
MENHIR_PRIVATE_NETWORKS = environment.networks("MENHIR_PRIVATE_NETWORKS")

# --- Retention --------------------------------------------------------------------------------------------------------
# Budgets of a month and what was billed last month are read from the ledger: it is never shorter than that.
_ledger_days = environment.number("MENHIR_LEDGER_KEEP_DAYS", 36_600, least=62, most=36_600)
MENHIR_KEEP_DAYS = {
    "assistants_response": environment.number("MENHIR_RESPONSES_KEEP_DAYS", 30, least=1, most=36_600),
    "metering_call": _ledger_days,
    "metering_settlement": _ledger_days,
}
"""Of tables cut by day, how long a day is kept; written into their register by `migrate_all`."""

# How long a process that was told to go serves on while it says that it is not ready: a balancer's interval of asking, times two.
MENHIR_DRAIN_SECONDS = environment.number("MENHIR_DRAIN_SECONDS", 0, least=0, most=10)
# How long what is under way then has to end.
MENHIR_GRACE_SECONDS = environment.number("MENHIR_GRACE_SECONDS", 20, least=1, most=20)

# --- Models -----------------------------------------------------------------------------------------------------------
MENHIR_EMBEDDER_URL = environment.text("MENHIR_EMBEDDER_URL", "http://127.0.0.1:8090")
MENHIR_PRIVATE_UPSTREAMS = environment.places("MENHIR_PRIVATE_UPSTREAMS")
MENHIR_LOCAL_MODEL = "all-MiniLM-L6-v2"

# --- Database ---------------------------------------------------------------------------------------------------------
MENHIR_DATABASES: dict[str, str] = {}
_owner = environment.database("DATABASE_URL") or embedded.owner_if_running(MENHIR_HOME / "postgres", secret=SECRET_KEY)
if _owner:
    MENHIR_DATABASES = roles.derive(_owner, secret=SECRET_KEY)
for _role in ("app", "gateway"):
    if _url := environment.database(f"MENHIR_{_role.upper()}_DATABASE_URL"):
        MENHIR_DATABASES[_role] = _url


def _database(role: str, *, pooled: bool) -> dict[str, Any]:
    """Django's form of a connection string."""
    parts = conninfo_to_dict(MENHIR_DATABASES.get(role, ""))
    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    found: dict[str, Any] = {names[key]: str(value) for key, value in parts.items() if key in names}
    options: dict[str, Any] = {key: value for key, value in parts.items() if key not in names}
    if pooled:
        options["pool"] = {"min_size": 1, "max_size": 16, "timeout": pools.WAIT_SECONDS, "reconnect_timeout": pools.RECONNECT_SECONDS}
    # Checked when taken: after a restart of the database the pool holds connections that are none.
    return {"ENGINE": "menhir.postgres.backend", "NAME": "menhir", "CONN_HEALTH_CHECKS": pooled, **found, "OPTIONS": options}


DATABASES = {"default": _database("app", pooled=True)}
if "owner" in MENHIR_DATABASES:
    DATABASES["owner"] = _database("owner", pooled=False)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Rooms ------------------------------------------------------------------------------------------------------------
KERNEL = ["postgres", "identity", "tenancy", "audit", "metering", "realtime"]
PRODUCT = ["gateway", "prompts", "knowledge", "assistants", "chat", "console"]
MIGRATION_MODULES = {label: f"migrations.{label}" for label in [*KERNEL, *PRODUCT] if label != "console"}  # it owns no rows
INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin.apps.SimpleAdminConfig",  # the rooms' staff pages are found with the other pages: see urls.py
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "channels",
    "csp",
    "django_htmx",
    "procrastinate.contrib.django",
    *(f"menhir.{label}" for label in KERNEL),
    *(f"apps.{label}" for label in PRODUCT),
    "menhir.wiring",
]
ROOT_URLCONF = "menhir.wiring.urls"
ASGI_APPLICATION = "menhir.wiring.asgi.application"
MIDDLEWARE = [
    "menhir.wiring.middleware.request_id",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "menhir.wiring.middleware.staff_policy",
    "menhir.wiring.middleware.body_limit",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "menhir.tenancy.middleware.TenancyMiddleware",
    "menhir.wiring.operators.OperatorMiddleware",
]
# The API's framework is no app of ours but a library with a page: as an app it would be loaded before anybody asks for one.
NINJA = environment.folder_of("ninja")
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates", NINJA / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "menhir.tenancy.middleware.context",
            ],
        },
    },
]
CHANNEL_LAYERS = {"default": {"BACKEND": "menhir.realtime.layer.PostgresChannelLayer"}}
# It counts attempts to sign in. By default it throws entries away from the 300th on: whoever tried so many addresses would be free again.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "identity_cache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
}

# --- People -----------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "identity.User"
SILENCED_SYSTEM_CHECKS = [
    "auth.W004"
]  # addresses are unique whatever their case: a constraint over lower(email), which the check cannot see
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
ACCOUNT_ADAPTER = "menhir.identity.adapter.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"  # people are added by an owner, not by themselves
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_FORMS = {"reset_password_from_key": "menhir.identity.forms.ChoosePassword"}
ACCOUNT_PASSWORD_RESET_TOKEN_GENERATOR = "menhir.identity.letters.AnyTokens"  # noqa: S105  # the name of a class
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGOUT_REDIRECT_URL = "/accounts/login/"

# --- Cookies and headers ----------------------------------------------------------------------------------------------
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = LANGUAGE_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = LANGUAGE_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = _https
SESSION_COOKIE_NAME = "menhir_session"
CSRF_COOKIE_NAME = "menhir_csrf"
SECURE_HSTS_SECONDS = 31_536_000 if _https else 0
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    },
}
# Unfold's Alpine evaluates expressions and sets styles: looser under /staff/ alone (see middleware.staff_policy).
STAFF_SECURITY_POLICY = {"script-src": [SELF, NONCE, "'unsafe-eval'"], "style-src": [SELF, "'unsafe-inline'"]}

# --- Language and time ------------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("de", _("German"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = USE_TZ = True
TIME_ZONE = "UTC"

UNFOLD = staff.UNFOLD

# --- Static files -----------------------------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static", NINJA / "static"]
WHITENOISE_USE_FINDERS = True  # served from where they are: there is no collecting step to forget
WHITENOISE_AUTOREFRESH = False

# --- Mail -------------------------------------------------------------------------------------------------------------
if _smtp := environment.text("MENHIR_SMTP_URL", ""):
    _mail = urlsplit(_smtp)
    EMAIL_HOST, EMAIL_PORT = _mail.hostname or "localhost", _mail.port or 587
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = unquote(_mail.username or ""), unquote(_mail.password or "")
    EMAIL_USE_TLS = True
else:
    EMAIL_BACKEND = "menhir.identity.mailbox.EmailBackend"
    EMAIL_FILE_PATH = MENHIR_HOME / "mail"
DEFAULT_FROM_EMAIL = environment.text("MENHIR_FROM_EMAIL", f"menhir@{_public.hostname or 'localhost'}")

# --- Jobs -------------------------------------------------------------------------------------------------------------
PROCRASTINATE_AUTODISCOVER_MODULE_NAME = "jobs"
PROCRASTINATE_ON_APP_READY = "menhir.wiring.jobs.on_app_ready"

# --- Telemetry --------------------------------------------------------------------------------------------------------
MENHIR_METRICS_TOKEN = environment.text("MENHIR_METRICS_TOKEN", "")
MENHIR_WORKER_METRICS = environment.address("MENHIR_WORKER_METRICS")
MENHIR_EMBEDDER_METRICS = environment.address("MENHIR_EMBEDDER_METRICS")
MENHIR_LOG_CALLS = environment.flag("MENHIR_LOG_CALLS")

# --- Logs -------------------------------------------------------------------------------------------------------------
LOGGING_CONFIG = None  # structlog and the standard library speak through one chain
logs.configure(level=environment.level("MENHIR_LOG_LEVEL", "INFO"))
