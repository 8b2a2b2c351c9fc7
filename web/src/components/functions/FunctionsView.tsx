/** The functions of this server: pick one, call it, watch its answer and its log arrive. */
import type { Session } from "../../lib/useSession";
import { Icon } from "../icons";
import { CallForm } from "./CallForm";
import { CallResult } from "./CallResult";
import { FunctionList } from "./FunctionList";
import { NoFunctions, Refused } from "./FunctionStates";

export function FunctionsView({ session }: { session: Session }) {
  const { functions } = session;
  const { table, route, draft } = functions;
  if (table.kind === "loading") {
    return (
      <main className="functions-alone" aria-busy="true">
        <p role="status" className="muted">
          Looking for functions…
        </p>
      </main>
    );
  }
  if (table.kind === "refused") {
    return (
      <main className="functions-alone">
        <Refused status={table.status} functions={functions} />
      </main>
    );
  }
  if (!route || !draft) {
    return (
      <main className="functions-alone">
        <NoFunctions problems={table.table.problems} onReload={functions.reload} />
      </main>
    );
  }
  return (
    <main className="functions">
      <FunctionList table={table.table} chosen={route} onChoose={functions.choose} onReload={functions.reload} />
      <section className="call" aria-labelledby="call-title">
        {/* A form of its own for each function: fields of one must not show what was typed for another. */}
        <CallForm key={route.file} route={route} draft={draft} functions={functions} />
        {functions.run ? (
          <CallResult key={functions.run.traceId} run={functions.run} />
        ) : (
          <div className="call-empty">
            <Icon name="frames" size={28} />
            <p>The answer shows here as it arrives, with the log of this call beside it.</p>
          </div>
        )}
      </section>
    </main>
  );
}
