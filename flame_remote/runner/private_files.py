"""Files that look like passwords and keys: no package has them unless somebody says so."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pathspec

# In the syntax of .gitignore; later lines win. Names, not contents: whoever puts a password into
# settings.py is not helped by this.
_PATTERNS: Final = (
    ".env",
    ".env.*",
    "!.env.example",
    "!.env.sample",
    "!.env.template",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    "!id_*.pub",
    ".netrc",
    "_netrc",
    ".pypirc",
    ".npmrc",
    ".pgpass",
    ".my.cnf",
    ".htpasswd",
    ".git-credentials",
    ".vault-token",
    ".flame/",
    ".aws/",
    ".azure/",
    "**/.config/gcloud/",
    "**/.docker/config.json",
    ".gnupg/",
    ".kube/",
    ".ssh/",
    "credentials.json",
    "client_secret*.json",
    "service-account*.json",
    "service_account*.json",
    "secrets.json",
    "secrets.toml",
    "secrets.yaml",
    "secrets.yml",
)


@lru_cache(maxsize=1)
def private_files() -> pathspec.GitIgnoreSpec:
    """Return what matches the paths of such files and folders."""
    import pathspec  # only for who packs something

    return pathspec.GitIgnoreSpec.from_lines(_PATTERNS)
