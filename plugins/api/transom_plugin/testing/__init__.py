"""Check that a plugin keeps the rules: the contract kit, for the tests of plugins.

contract   Contract: every rule, one method each
rules      what outputs must look like
capture    notice what is printed
warmth     what `transom_warm` leaves behind, measured in a process of its own
"""

from transom_plugin.testing.contract import Contract
from transom_plugin.testing.rules import Breach

__all__ = ["Breach", "Contract"]
