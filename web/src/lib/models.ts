/** The models list as people look at it: grouped by provider, with an honest word on models that are not real. Pure. */
import type { Model } from "./api";

export interface ModelGroup {
  provider: string;
  models: Model[];
}

export function providerOf(id: string): string {
  const slash = id.indexOf("/");
  return slash > 0 ? id.slice(0, slash) : "other";
}

/** Real providers first, in the server's order; the simulated one last. */
export function groupModels(models: readonly Model[], search: string): ModelGroup[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const groups = new Map<string, Model[]>();
  for (const model of models) {
    const text = `${model.id} ${model.ownedBy} ${model.description}`.toLowerCase();
    if (!words.every((word) => text.includes(word))) continue;
    const provider = providerOf(model.id);
    groups.set(provider, [...(groups.get(provider) ?? []), model]);
  }
  return [...groups]
    .map(([provider, list]) => ({ provider, models: list }))
    .sort((a, b) => Number(a.provider === "demo") - Number(b.provider === "demo"));
}

/** The choice of last time while it exists, else a local model, else the first real one, else a simulated one. */
export function defaultModel(models: readonly Model[], remembered: string): string {
  // Options after "?" belong to the demo models; they are not in the list.
  const known = (id: string) => models.some((model) => model.id === id.split("?")[0]);
  if (remembered && known(remembered)) return remembered;
  const pick =
    models.find((m) => providerOf(m.id) === "local") ?? models.find((m) => providerOf(m.id) !== "demo") ?? models[0];
  return pick?.id ?? "";
}

export interface ModelNote {
  kind: "simulated" | "toy";
  label: string;
  text: string;
  /** One line, for under the message field. */
  short: string;
}

export function modelNote(id: string): ModelNote | null {
  if (providerOf(id) === "demo") {
    return {
      kind: "simulated",
      label: "Simulated",
      text: "This is a simulated model: a script, not an AI. It shows how streaming works, with no key.",
      short: "Simulated: a script, not an AI.",
    };
  }
  if (id === "local/tiny") {
    return {
      kind: "toy",
      label: "Toy model",
      text: "This is a real but tiny model, trained only on this project. It knows nothing else and is often wrong.",
      short: "A toy that only knows this project, and is often wrong.",
    };
  }
  return null;
}
