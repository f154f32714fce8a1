"""Reading the flag file as a service does, through the OpenFeature SDK and flagd's provider in file mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stoploss.errors import ConfigurationError
from stoploss.simulate.assign import Assigned

POLL_MS = 20


class FlagReader:
    """Evaluates flags of one file; a change is seen within about POLL_MS."""

    def __init__(self, path: Path) -> None:
        try:
            from openfeature import api
            from openfeature.contrib.provider.flagd import FlagdProvider
            from openfeature.contrib.provider.flagd.config import ResolverType
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"the OpenFeature SDK is missing ({error.name}); install it: pip install 'stoploss[openfeature]'"
            ) from error
        provider = FlagdProvider(
            resolver_type=ResolverType.FILE, offline_flag_source_path=str(path), deadline_ms=POLL_MS
        )
        domain = f"stoploss-{path.absolute()}"
        api.set_provider_and_wait(provider, domain)
        self._client: Any = api.get_client(domain)
        self._provider = provider

    def assign(self, flag: str, control: str, unit_id: str, attributes: dict[str, str] | None = None) -> Assigned:
        """The variant of a unit with the run and epoch that the flag carries; control where there is no flag yet."""
        from openfeature.evaluation_context import EvaluationContext

        context = EvaluationContext(targeting_key=unit_id, attributes=dict(attributes or {}))
        details = self._client.get_string_details(flag, control, context)
        metadata = details.flag_metadata or {}
        run, epoch = metadata.get("run"), metadata.get("epoch")
        return Assigned(details.value, None if run is None else int(run), None if epoch is None else int(epoch))

    def close(self) -> None:
        self._provider.shutdown()
