"""An OpenFeature hook: every evaluation of an experiment's flag within a request is the request's assignment.

api.add_hooks([AssignmentHook()])
with tracer.request(unit_id=user):
    model = client.get_string_value("checkout-agent-model", "current", EvaluationContext(user))
"""

from __future__ import annotations

from collections.abc import Mapping

from stoploss.emit.assignment import CONSENT, truth
from stoploss.emit.current import current_request
from stoploss.errors import ConfigurationError

try:
    from openfeature.flag_evaluation import FlagEvaluationDetails, FlagValueType
    from openfeature.hook import Hook, HookContext, HookHints
except ModuleNotFoundError as error:
    raise ConfigurationError(
        f"the OpenFeature SDK is missing ({error.name}); install it: pip install 'stoploss[openfeature]'"
    ) from error


class AssignmentHook(Hook):
    """Looks at flags whose metadata name an experiment, as stoploss's own do, and at those that it is told of."""

    def __init__(self, experiments: Mapping[str, str] | None = None) -> None:
        """experiments: the experiment of a flag, by the flag's key, for flag systems without metadata."""
        self._experiments = dict(experiments or {})

    def after(self, hook_context: HookContext, details: FlagEvaluationDetails[FlagValueType], hints: HookHints) -> None:
        """The first evaluation within a request counts; a default, which has no variant, is nobody's assignment.

        Consent is what the context of the evaluation says.
        """
        request = current_request()
        name = self._experiments.get(details.flag_key) or details.flag_metadata.get("experiment")
        if request is None or not name or details.variant is None or request.is_assigned(str(name)):
            return
        request.assign_from(details, str(name), truth(hook_context.evaluation_context.attributes, CONSENT))
