/** The list of functions: a column of buttons, or one select where the page is narrow. */
import type { FunctionRoute, FunctionTable } from "../../lib/functions";
import { IconButton } from "../controls";
import { Problems } from "./FunctionStates";

interface Props {
  table: FunctionTable;
  chosen: FunctionRoute;
  onChoose: (file: string) => void;
  onReload: () => void;
}

export function FunctionList({ table, chosen, onChoose, onReload }: Props) {
  return (
    <nav className="function-list" aria-label="Functions">
      <header>
        <h2>Functions</h2>
        <span className="count">{table.routes.length}</span>
        <IconButton icon="retry" label="Reload the list" onClick={onReload} />
      </header>
      <select className="narrow-only" aria-label="Function" value={chosen.file} onChange={(event) => onChoose(event.target.value)}>
        {table.routes.map((route) => (
          <option key={route.file} value={route.file}>
            {route.path}
          </option>
        ))}
      </select>
      <ul className="wide-list">
        {table.routes.map((route) => (
          <li key={route.file}>
            <button type="button" aria-current={route.file === chosen.file ? "true" : undefined} onClick={() => onChoose(route.file)}>
              <span className="route-path">
                <Path path={route.path} />
              </span>
              <span className="route-about">{about(route)}</span>
            </button>
          </li>
        ))}
      </ul>
      <Problems problems={table.problems} />
    </nav>
  );
}

function about(route: FunctionRoute): string {
  const shapes: Record<string, string> = { asgi: "ASGI app", wsgi: "WSGI app", handler: "handler class", pages: "handler(req, res)" };
  return shapes[route.kind] ?? route.methods.join(" ");
}

/** A path with its parameters marked; it may break after a slash. */
export function Path({ path }: { path: string }) {
  return path.split(/(\[+[^\]]+\]+)/).map((piece, index) =>
    piece.startsWith("[") ? (
      <mark key={index}>{piece}</mark>
    ) : (
      piece.split("/").map((word, at) => (at === 0 ? word : [<wbr key={`${index} ${at}`} />, `/${word}`]))
    ),
  );
}
