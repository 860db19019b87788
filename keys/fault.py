"""Why a private key cannot be used, for the person who set it."""

from enum import StrEnum


class KeyTrouble(StrEnum):
    """The reasons, one word each."""

    FILE_UNREADABLE = "key_file_unreadable"
    FILE_OPEN_TO_OTHERS = "key_file_open_to_others"
    FILE_OF_ANOTHER = "key_file_of_another"
    UNFIT = "key_unfit"
    URI_INVALID = "pkcs11_uri_invalid"
    NOT_INSTALLED = "pkcs11_not_installed"
    MODULE_UNUSABLE = "pkcs11_module_unusable"
    TOKEN_ABSENT = "pkcs11_token_absent"  # noqa: S105  # A device, no secret.
    PIN_WRONG = "pkcs11_pin_wrong"
    KEY_ABSENT = "pkcs11_key_absent"
    TOKEN_FAILS = "pkcs11_token_fails"  # noqa: S105  # A device, no secret.


class KeyFault(Exception):
    """A private key cannot be used: `trouble` says why in a word, `says` in words that follow the setting's name."""

    def __init__(self, trouble: KeyTrouble, says: str) -> None:
        super().__init__(f"{says} ({trouble})")
        self.trouble = trouble
        self.says = says
