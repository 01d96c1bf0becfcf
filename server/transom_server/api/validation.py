"""Check a message against the rules in its proto, before anything else looks at it.

Never called on a message that carries document bytes: the check copies what it checks.
"""

from __future__ import annotations

from google.protobuf.message import Message
from protovalidate import Validator, Violation
from transom_wire.errors import InvalidRequest

_VALIDATOR = Validator()


def validate(message: Message) -> None:
    """Check a message.

    Raises:
        InvalidRequest: With the paths of the fields that break a rule, and the rules, never the values.
    """
    violations = _VALIDATOR.collect_violations(message)
    if violations:
        raise InvalidRequest(violations=[(_path(one), one.proto.message or one.proto.rule_id) for one in violations[:10]])


def _path(violation: Violation) -> str:
    field = violation.proto.field
    if field is None:
        return ""
    return ".".join(element.field_name for element in field.elements)
