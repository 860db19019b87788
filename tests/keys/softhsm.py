"""A real token in software: SoftHSM, with a folder of its own, and what a person makes in it beforehand."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pkcs11
from pkcs11.util.ec import encode_named_curve_parameters

MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)
CURVES = {
    "Ed25519": (pkcs11.KeyType.EC_EDWARDS, "1.3.101.112", pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN),
    "ES256": (pkcs11.KeyType.EC, "secp256r1", pkcs11.Mechanism.EC_KEY_PAIR_GEN),
    "P-384": (pkcs11.KeyType.EC, "secp384r1", pkcs11.Mechanism.EC_KEY_PAIR_GEN),
}
PIN = "correct-pin-4711"


@dataclass(frozen=True)
class SoftToken:
    """A token by its label; `pin_file` holds its PIN."""

    module: str
    label: str
    pin_file: Path

    def uri(self, name: str, *, token: str = "", pin_file: Path | None = None, module: str = "") -> Path:
        """Return the setting that names a key."""
        where = f"pkcs11:token={token or self.label};object={name}"
        return Path(f"{where}?module-path={module or self.module}&pin-source=file:{pin_file or self.pin_file}")

    def make_key(self, name: str, kind: str) -> None:
        """Make a key pair in the token, of which the private half never leaves it."""
        key_type, curve, mechanism = CURVES[kind]
        with pkcs11.lib(self.module).get_token(token_label=self.label).open(rw=True, user_pin=PIN) as session:
            wanted = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}
            curve_of = session.create_domain_parameters(key_type, wanted, local=True)
            curve_of.generate_keypair(mechanism=mechanism, store=True, label=name, id=name.encode())


def make_token(folder: Path) -> tuple[SoftToken, dict[str, str]]:
    """Make a token in a folder; return it, and the environment in which SoftHSM finds it."""
    tokens, configuration = folder / "tokens", folder / "softhsm2.conf"
    tokens.mkdir()
    configuration.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
    environment = {"SOFTHSM2_CONF": str(configuration)}
    pin_file = folder / "pin"
    pin_file.touch(mode=0o600)
    pin_file.write_text(f"{PIN}\n")
    made = ["softhsm2-util", "--init-token", "--free", "--label", "tka", "--pin", PIN, "--so-pin", "so-pin-0815"]
    subprocess.run(made, env=environment, check=True, capture_output=True)
    module = next(path for path in MODULES if Path(path).exists())
    return SoftToken(module, "tka", pin_file), environment
