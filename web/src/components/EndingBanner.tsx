/** Says how a reply ended, when that was not plainly well, and offers the next step. */
import { adviceFor } from "../lib/advice";
import type { Ending } from "../lib/reply";
import { Icon } from "./icons";

interface Props {
  ending: Ending;
  /** Only the last reply can be tried again. */
  last: boolean;
  onRetry: () => void;
  onEnterKey: () => void;
}

export function EndingBanner({ ending, last, onRetry, onEnterKey }: Props) {
  const advice = adviceFor(ending);
  if (!advice) return null;
  const needsKey = ending.kind === "refused" && ending.status === 401;
  return (
    <div className={`banner banner-${advice.tone}`} role={advice.tone === "error" ? "alert" : "status"} data-testid="ending">
      <Icon name={advice.tone === "info" ? "info" : "warning"} />
      <div className="banner-text">
        <p className="banner-title">
          {advice.title}
          {advice.code && <code>{advice.code}</code>}
        </p>
        {advice.message && <p>{advice.message}</p>}
        {advice.hint && <p className="banner-hint">{advice.hint}</p>}
      </div>
      {last && (
        <div className="banner-actions">
          {needsKey && (
            <button type="button" className="button primary" onClick={onEnterKey}>
              <Icon name="key" size={16} />
              Enter key
            </button>
          )}
          {advice.retry && (
            <button type="button" className="button" onClick={onRetry}>
              <Icon name="retry" size={16} />
              Retry
            </button>
          )}
        </div>
      )}
    </div>
  );
}
