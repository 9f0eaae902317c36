"""What schemathesis must not send, because every request would end there and nothing behind it would be tried."""

import schemathesis

# Where it is sent all the same, so that the refusal is held against the description, too.
SENT_TO = "GET /data/foundation/flowservice/flowSpecs"


@schemathesis.hook
def before_call(context, case, kwargs):
    # Only accounts with the role `service` may name a sandbox by its id (flow-service.md 2.2, code 2110); the account of
    # the test has another role, as those of people have.
    if case.headers and case.operation.label != SENT_TO:
        case.headers.pop("x-sandbox-id", None)
