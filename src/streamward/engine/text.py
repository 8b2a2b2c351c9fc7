"""``stream_text`` and ``generate_text``: the way in."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streamward import call as calls
from streamward.call import Message
from streamward.engine.model import MAX_RETRIES, CallOptions, Model
from streamward.engine.output import output_of
from streamward.engine.plan import Callbacks, Plan, ToolErrors, generate_id, stop_conditions, tool_choice_of
from streamward.engine.prompt import prompt_of
from streamward.engine.resolve import model_of
from streamward.engine.result import Generated, StreamResult
from streamward.engine.steps import PrepareStep, StopCondition
from streamward.engine.timeouts import Timeout, timeout_of
from streamward.engine.tool_input import Repair
from streamward.engine.tools import ToolsGiven, toolset
from streamward.errors import InvalidRequest
from streamward.events import Event


def stream_text(
    model: str | Model,
    *,
    messages: Any = None,
    prompt: Any = None,
    system: str | Sequence[Message] | None = None,
    tools: ToolsGiven = None,
    tool_choice: Any = None,
    active_tools: Sequence[str] | None = None,
    max_steps: int | None = None,
    stop_when: StopCondition | Sequence[StopCondition] | None = None,
    prepare_step: PrepareStep | None = None,
    repair_tool_call: Repair | None = None,
    tool_errors: ToolErrors = "to_model",
    output: Any = None,
    max_output_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    top_k: int | None = None,
    presence_penalty: float | None = None,
    frequency_penalty: float | None = None,
    stop_sequences: Sequence[str] | None = None,
    seed: int | None = None,
    thinking: calls.Thinking | str | int | None = None,
    max_retries: int = MAX_RETRIES,
    timeout: Timeout | Mapping[str, float] | float | None = None,
    headers: Mapping[str, str] | None = None,
    provider_options: Mapping[str, Any] | None = None,
    transforms: Any = None,
    on_chunk: Callable[..., Any] | None = None,
    on_step_finish: Callable[..., Any] | None = None,
    on_finish: Callable[..., Any] | None = None,
    on_error: Callable[..., Any] | None = None,
    on_abort: Callable[..., Any] | None = None,
    context: Any = None,
    generate_id: Callable[[], str] = generate_id,
    telemetry: Any = None,
) -> StreamResult[Any]:
    """Stream the answer of a model, with its tools run and fed back for as many steps as allowed.

    Returns at once and sends nothing before the result is first used. *model* is an id such as ``openai/gpt-4o-mini``
    or a model object; *messages* are model messages, OpenAI's form, or the UI messages that a hook posts, in any
    version. *max_steps* (1) and *stop_when* limit the model calls. *timeout* is seconds in total, or
    ``{"total", "step", "first_chunk", "between_chunks"}``. *provider_options* go out as fields of the provider's own
    dialect.

    Raises:
        InvalidRequest: what was given cannot be used; the message and ``info.param`` say what and how.
    """
    known = toolset(tools)
    spec = output_of(output)
    unknown = [name for name in active_tools or () if name not in known]
    if unknown:
        raise InvalidRequest(f"active_tools: there is no tool {unknown[0]!r}", param="active_tools")
    if not isinstance(max_retries, int) or max_retries < 0:
        raise InvalidRequest(f"max_retries: expected a number from 0 on, got {max_retries!r}", param="max_retries")
    made = model_of(model)
    call = calls.Call(
        made.id, max_output_tokens=max_output_tokens, temperature=temperature, top_p=top_p, top_k=top_k,
        presence_penalty=presence_penalty, frequency_penalty=frequency_penalty, stop=tuple(stop_sequences or ()), seed=seed,
        output=spec.declared(), thinking=thinking_of(thinking), stream=True, include_usage=True,
        extra=provider_extra(provider_options),
    )  # fmt: skip
    plan = Plan(
        model=made, prompt=prompt_of(messages, prompt, system), call=call,
        options=CallOptions(max_retries=max_retries, headers=headers or {}, provider_options=provider_options or {}),
        tools=known, tool_choice=tool_choice_of(tool_choice, known), active_tools=active_tools,
        timeout=timeout_of(timeout), stop_when=stop_conditions(max_steps, stop_when), prepare_step=prepare_step,
        repair=repair_tool_call, tool_errors=tool_errors, transforms=transforms_of(transforms),
        callbacks=Callbacks(
            on_chunk=on_chunk, on_step_finish=on_step_finish, on_finish=on_finish, on_error=on_error, on_abort=on_abort
        ),
        context=context, new_id=generate_id, telemetry=telemetry_of(telemetry), output=spec,
    )  # fmt: skip
    return StreamResult(plan, spec, check=live_check())


async def generate_text(model: str | Model, **settings: Any) -> Generated[Any]:
    """:func:`stream_text`, run to its end. Takes the same settings; cancelling it stops the model.

    Raises:
        StreamwardError: the typed failure.
    """
    async with stream_text(model, **settings) as result:
        return await result.generated


def thinking_of(value: calls.Thinking | str | int | None) -> calls.Thinking | None:
    """An effort word, a budget in tokens, or all of it."""
    if value is None or isinstance(value, calls.Thinking):
        return value
    if isinstance(value, bool):
        return calls.Thinking(enabled=value)
    if isinstance(value, int):
        return calls.Thinking(max_tokens=value)
    return calls.Thinking(effort=value)  # type: ignore[arg-type]  # providers refuse words they do not know


def provider_extra(options: Mapping[str, Any] | None) -> dict[str, dict[str, Any]] | None:
    """Provider options by dialect: a provider's name stands for the dialect it is spoken to in."""
    if not options:
        return None
    from streamward.upstream.providers import PROVIDERS
    from streamward.wire.table import DIALECTS

    extra: dict[str, dict[str, Any]] = {}
    for name, fields in options.items():
        if not isinstance(fields, Mapping):
            raise InvalidRequest(f"provider_options.{name}: expected a mapping of fields", param=f"provider_options.{name}")
        row = PROVIDERS.get(name)
        dialect = name if name in DIALECTS else row.dialect if row is not None else None
        if dialect is not None:
            extra.setdefault(dialect, {}).update(fields)
    return extra or None


def transforms_of(given: Any) -> tuple[Any, ...]:
    if given is None:
        return ()
    return tuple(given) if isinstance(given, (list, tuple)) else (given,)


def telemetry_of(given: Any) -> Any:
    if given is None or given is False:
        return None
    from streamward.engine.telemetry import telemetry

    return telemetry(given)


def live_check() -> Callable[[Event], None] | None:
    """The grammar checker, when ``STREAMWARD_CHECK_GRAMMAR`` asks for it."""
    if not os.environ.get("STREAMWARD_CHECK_GRAMMAR"):
        return None
    from streamward.grammar import Checker

    checker = Checker()

    def check(event: Event) -> None:
        problems = checker.feed(event)
        if problems:
            raise AssertionError(f"the stream breaks the event grammar: {'; '.join(problems)}")

    return check
