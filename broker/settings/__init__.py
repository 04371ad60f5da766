"""The configuration: what ``broker.yaml`` and ``BROKER_…`` variables may say.

Everything is validated here, once, so that the rest of the broker never meets a bad value.
"""

from broker.settings.audit import Audit, Checkpoints, ObjectStore, Witness
from broker.settings.introspection import Introspection
from broker.settings.key_files import KeyFiles, find_key_files
from broker.settings.keys import Key, describe_keys
from broker.settings.limits import Limits, LimitStore, Quota
from broker.settings.load import load_settings
from broker.settings.parties import ClientSettings, KnownAs, TargetSettings, TrustedIssuer
from broker.settings.policy import BundleSource, Policy, Verification
from broker.settings.root import Settings
from broker.settings.sections import (
    Admin,
    Database,
    Keys,
    Listen,
    Pkcs11,
    Rate,
    Telemetry,
)
from broker.settings.upstreams import Proxy, SharedStore, Upstream
from broker.settings.values import Algorithm, Duration, SigningAlgorithm, parse_duration

__all__ = [
    "Admin",
    "Algorithm",
    "Audit",
    "BundleSource",
    "Checkpoints",
    "ClientSettings",
    "Database",
    "Duration",
    "Introspection",
    "Key",
    "KeyFiles",
    "Keys",
    "KnownAs",
    "LimitStore",
    "Limits",
    "Listen",
    "ObjectStore",
    "Pkcs11",
    "Policy",
    "Proxy",
    "Quota",
    "Rate",
    "Settings",
    "SharedStore",
    "SigningAlgorithm",
    "TargetSettings",
    "Telemetry",
    "TrustedIssuer",
    "Upstream",
    "Verification",
    "Witness",
    "describe_keys",
    "find_key_files",
    "load_settings",
    "parse_duration",
]
