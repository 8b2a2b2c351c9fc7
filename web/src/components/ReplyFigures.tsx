/** The figures under a reply: time to first token, tokens per second, tokens, whole time. */
import { formatMs, formatRate, metricsOf } from "../lib/metrics";
import type { Reply } from "../lib/reply";

export function ReplyFigures({ reply }: { reply: Reply }) {
  const { ttftMs, tokensPerSecond, estimated } = metricsOf(reply);
  const { usage, ending, timing } = reply;
  if (ttftMs === null && usage === null) return <span />;
  const about = estimated ? "≈ " : "";
  return (
    <dl className="figures">
      {ttftMs !== null && <Figure name="First token" value={formatMs(ttftMs)} testId="ttft" />}
      {tokensPerSecond !== null && (
        <Figure
          name="Speed"
          value={`${about}${formatRate(tokensPerSecond)} tok/s`}
          title={estimated ? "Estimated from the number of chunks: the server gave no usage." : "After the first token, from the server's usage."}
          testId="speed"
        />
      )}
      {usage && (
        <Figure
          name="Tokens"
          value={`${usage.prompt.toLocaleString("en")} in · ${usage.completion.toLocaleString("en")} out${details(usage)}`}
          testId="usage"
        />
      )}
      {ending && timing.lastTokenAt !== null && <Figure name="Total" value={formatMs(timing.lastTokenAt - timing.startedAt)} />}
    </dl>
  );
}

function details(usage: { reasoning: number; cached: number }): string {
  const parts = [];
  if (usage.reasoning > 0) parts.push(`${usage.reasoning.toLocaleString("en")} thinking`);
  if (usage.cached > 0) parts.push(`${usage.cached.toLocaleString("en")} cached`);
  return parts.length > 0 ? ` (${parts.join(", ")})` : "";
}

function Figure({ name, value, title, testId }: { name: string; value: string; title?: string; testId?: string }) {
  return (
    <div title={title}>
      <dt>{name}</dt>
      <dd data-testid={testId}>{value}</dd>
    </div>
  );
}
