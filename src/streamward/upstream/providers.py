"""The providers streamward knows: rows of data.

A new OpenAI-compatible provider is one row here and one golden file. A quirk is a field of
:class:`streamward.wire.dialect.Profile`, never a branch on a name. Sources: the providers' own documentation and
recorded streams, as of 2026-11.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from streamward.wire.dialect import Profile

Auth = Literal["bearer", "x-api-key", "x-goog-api-key", "api-key", "aws", "none"]
"""``aws``: a Bedrock API key as a bearer token, or else every request signed (SigV4)."""


class Provider(Struct, frozen=True, kw_only=True):
    """One row: where a provider is, how it is spoken to, and where its key is found."""

    name: str
    base_url: str
    """Empty: everybody has one of their own, from ``url_env`` or the configuration. ``{AWS_REGION}`` stands for the region
    the environment names."""
    dialect: str = "chat_completions"
    auth: Auth = "bearer"
    key_env: tuple[str, ...] = ()
    """Environment variables that may hold the key, first match wins; empty: no key needed."""
    url_env: str | None = None
    """Environment variable that replaces ``base_url``."""
    url_path: str = ""
    """Put behind the URL of that variable when it has no path of its own."""
    headers: tuple[tuple[str, str], ...] = ()
    profile: Profile = Profile()


PLAIN = Profile(max_tokens_field="max_tokens", developer_role=False)
"""What most OpenAI-compatible servers have in common."""

CHAT_ONLY = replace(PLAIN, unsupported=frozenset({"embeddings"}))

KEEPS_GENERATING = Profile(max_tokens_field="max_tokens", developer_role=False, cancels_on_close=False)

ROWS = (
    Provider(name="openai", base_url="https://api.openai.com/v1", key_env=("OPENAI_API_KEY",), url_env="OPENAI_BASE_URL"),
    Provider(
        name="anthropic", base_url="https://api.anthropic.com/v1", dialect="messages", auth="x-api-key",
        key_env=("ANTHROPIC_API_KEY",), url_env="ANTHROPIC_BASE_URL", headers=(("anthropic-version", "2023-06-01"),),
    ),
    Provider(
        name="google", base_url="https://generativelanguage.googleapis.com/v1beta", dialect="generate_content",
        auth="x-goog-api-key", key_env=("GOOGLE_GENERATIVE_AI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"),
        profile=Profile(ends_with="finish", cancels_on_close=False),
    ),
    Provider(
        name="vertex", base_url="https://aiplatform.googleapis.com/v1/publishers/google", dialect="generate_content",
        auth="x-goog-api-key", key_env=("GOOGLE_VERTEX_API_KEY",),
        profile=Profile(ends_with="finish", cancels_on_close=False),
    ),
    Provider(
        name="bedrock", base_url="https://bedrock-runtime.{AWS_REGION}.amazonaws.com", dialect="converse", auth="aws",
        key_env=("AWS_BEARER_TOKEN_BEDROCK",), url_env="AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
        profile=Profile(cancels_on_close=False),
    ),
    Provider(
        name="azure", base_url="", auth="api-key", key_env=("AZURE_API_KEY", "AZURE_OPENAI_API_KEY"),
        url_env="AZURE_OPENAI_ENDPOINT", url_path="/openai/v1",
    ),
    Provider(
        name="xai", base_url="https://api.x.ai/v1", key_env=("XAI_API_KEY",),
        profile=Profile(max_tokens_field="max_tokens", developer_role=False, output_excludes_reasoning=True),
    ),
    Provider(
        name="mistral", base_url="https://api.mistral.ai/v1", key_env=("MISTRAL_API_KEY",),
        profile=Profile(
            max_tokens_field="max_tokens", developer_role=False, asks_usage=False, cancels_on_close=False,
            drops_fields=frozenset({"user", "logit_bias"}),
        ),
    ),
    Provider(name="deepseek", base_url="https://api.deepseek.com", key_env=("DEEPSEEK_API_KEY",), profile=CHAT_ONLY),
    Provider(
        name="groq", base_url="https://api.groq.com/openai/v1", key_env=("GROQ_API_KEY",),
        profile=Profile(
            max_tokens_field="max_completion_tokens", developer_role=False, usage_path=("x_groq", "usage"),
            cancels_on_close=False, unsupported=frozenset({"embeddings"}),
        ),
    ),
    Provider(
        name="perplexity", base_url="https://api.perplexity.ai", key_env=("PERPLEXITY_API_KEY",),
        profile=Profile(
            max_tokens_field="max_tokens", developer_role=False, asks_usage=False, ends_with="finish",
            cancels_on_close=False, unsupported=frozenset({"tools"}),
        ),
    ),
    Provider(
        name="cohere", base_url="https://api.cohere.ai/compatibility/v1", key_env=("COHERE_API_KEY", "CO_API_KEY"),
        profile=PLAIN,
    ),
    Provider(
        name="togetherai", base_url="https://api.together.xyz/v1", key_env=("TOGETHER_API_KEY", "TOGETHER_AI_API_KEY"),
        profile=PLAIN,
    ),
    Provider(
        name="fireworks", base_url="https://api.fireworks.ai/inference/v1", key_env=("FIREWORKS_API_KEY",), profile=PLAIN,
    ),
    Provider(name="cerebras", base_url="https://api.cerebras.ai/v1", key_env=("CEREBRAS_API_KEY",), profile=CHAT_ONLY),
    Provider(
        name="deepinfra", base_url="https://api.deepinfra.com/v1/openai", key_env=("DEEPINFRA_API_KEY",),
        profile=Profile(max_tokens_field="max_tokens", developer_role=False, single_newline_frames=True),
    ),
    Provider(
        name="alibaba", base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        key_env=("ALIBABA_API_KEY", "DASHSCOPE_API_KEY"), profile=KEEPS_GENERATING,
    ),
    Provider(name="moonshotai", base_url="https://api.moonshot.ai/v1", key_env=("MOONSHOT_API_KEY",), profile=CHAT_ONLY),
    Provider(
        name="minimax", base_url="https://api.minimax.io/v1", key_env=("MINIMAX_API_KEY",), profile=KEEPS_GENERATING,
    ),
    Provider(name="zai", base_url="https://api.z.ai/api/paas/v4", key_env=("ZAI_API_KEY",), profile=PLAIN),
    Provider(name="baseten", base_url="https://inference.baseten.co/v1", key_env=("BASETEN_API_KEY",), profile=PLAIN),
    Provider(
        name="sambanova", base_url="https://api.sambanova.ai/v1", key_env=("SAMBANOVA_API_KEY",),
        profile=Profile(
            max_tokens_field="max_tokens", developer_role=False, single_newline_frames=True, cancels_on_close=False
        ),
    ),
    Provider(
        name="nebius", base_url="https://api.studio.nebius.ai/v1", key_env=("NEBIUS_API_KEY",), profile=KEEPS_GENERATING,
    ),
    Provider(name="novita", base_url="https://api.novita.ai/v3/openai", key_env=("NOVITA_API_KEY",), profile=PLAIN),
    Provider(
        name="huggingface", base_url="https://router.huggingface.co/v1", key_env=("HUGGINGFACE_API_KEY", "HF_TOKEN"),
        profile=KEEPS_GENERATING,
    ),
    Provider(name="openrouter", base_url="https://openrouter.ai/api/v1", key_env=("OPENROUTER_API_KEY",)),
    Provider(name="vercel", base_url="https://ai-gateway.vercel.sh/v1", key_env=("AI_GATEWAY_API_KEY", "VERCEL_OIDC_TOKEN")),
    Provider(
        name="ollama", base_url="http://127.0.0.1:11434", dialect="ollama", auth="none", url_env="OLLAMA_HOST",
        profile=Profile(cancels_on_close=True),
    ),
    Provider(name="vllm", base_url="http://127.0.0.1:8000/v1", key_env=("VLLM_API_KEY",), url_env="VLLM_BASE_URL",
             profile=PLAIN),
    Provider(name="sglang", base_url="http://127.0.0.1:30000/v1", auth="none", url_env="SGLANG_BASE_URL", profile=PLAIN),
    Provider(name="llamacpp", base_url="http://127.0.0.1:8080/v1", auth="none", url_env="LLAMACPP_BASE_URL", profile=PLAIN),
    Provider(name="lmstudio", base_url="http://127.0.0.1:1234/v1", auth="none", url_env="LMSTUDIO_BASE_URL", profile=PLAIN),
)  # fmt: skip

PROVIDERS: dict[str, Provider] = {row.name: row for row in ROWS}
LOCAL_SERVERS = frozenset({"ollama", "vllm", "sglang", "llamacpp", "lmstudio"})
"""Used only when named in the configuration or by their URL variable: nobody wants a probe of every local port."""
