"""Train streamward's toy model and write it as a GGUF file.

    python scripts/train_tiny/train.py                     # the shipped file, two and a half minutes on one CPU
    python scripts/train_tiny/train.py --seconds 10 --out /tmp/proof.gguf

Needs requirements.txt of this folder, best in a virtual environment of its own; streamward never needs them.
The same seed, texts, package versions and machine give the same file.
"""

from __future__ import annotations

import argparse
import random
import time
import tomllib
from pathlib import Path

import torch
import torch.utils.deterministic
from bpe import Tokenizer, learn
from dialogs import HERE, ROOT, Material, Row, asked, conversation, encode, opening
from export import write_gguf
from network import Network, Shape
from torch.nn import functional

OUT = ROOT / "src/streamward/upstream/models/streamward-tiny.gguf"
LENGTH = 256  # tokens of one conversation: three or four questions with answers
BATCH = 5
OPENING = 32  # tokens: a question and the beginning of its answer
OPENINGS = 48  # two steps of three practise only these
SETTLE = 0.92  # part of the training after which none does: the words of the answers settle in whole conversations
STEPS = 720
WARM_UP = 0.03  # part of the training
COOL_DOWN = 0.65
HALF = torch.cpu._is_avx512_bf16_supported()  # 1.4 times as fast where the CPU has it; elsewhere it would be slower


def learning_rate(progress: float) -> float:
    """Return the factor at *progress* (0 to 1): a short rise, a plateau, a straight way down."""
    return min(1.0, progress / WARM_UP + 0.02, (1.02 - progress) / COOL_DOWN)


def train(network: Network, material: Material, tokenizer: Tokenizer, options: argparse.Namespace) -> tuple[float, float]:
    """Train in place; return the loss of the first and of the last conversations."""
    rng = random.Random(options.seed)
    matrices = [p for block in network.blocks for p in block.parameters() if p.ndim == 2]
    others = [p for p in network.parameters() if not any(p is m for m in matrices)]
    optimizers = [
        torch.optim.Muon(matrices, lr=0.02, momentum=0.95, weight_decay=0.01, ns_steps=3),
        torch.optim.AdamW(others, lr=0.004, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    losses: list[float] = []
    began = time.monotonic()
    for step in range(options.steps):
        spent = time.monotonic() - began
        progress = max(step / options.steps, spent / options.seconds if options.seconds else 0.0)
        if progress >= 1:
            break
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * learning_rate(progress)
        if step % 3 and progress < SETTLE:
            train_step(network, [opening(rng, material, tokenizer, OPENING) for _ in range(OPENINGS)], optimizers)
        else:
            batch = [conversation(rng, material, tokenizer, LENGTH) for _ in range(BATCH)]
            losses.append(train_step(network, batch, optimizers))
        if step % 50 == 0:
            print(f"step {step:4d}  loss {sum(losses[-17:]) / len(losses[-17:]):.3f}  {spent:.0f} s", flush=True)
    return losses[0], sum(losses[-3:]) / len(losses[-3:])


def train_step(network: Network, batch: list[Row], optimizers: list[torch.optim.Optimizer]) -> float:
    tokens, weights, positions = (torch.tensor([row[n] for row in batch]) for n in range(3))
    wanted, weight = tokens[:, 1:].flatten(), weights[:, 1:].flatten()
    learned = weight > 0
    with torch.autocast("cpu", torch.bfloat16, enabled=HALF):
        hidden = network(tokens[:, :-1], positions[:, :-1]).flatten(0, 1)[learned]
        scores = network.logits(hidden)
    loss = functional.cross_entropy(scores.float(), wanted[learned], reduction="none")
    mean = (loss * weight[learned]).sum() / weight.sum()
    mean.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return mean.item()


@torch.no_grad()
def answer(network: Network, tokenizer: Tokenizer, question: str, most: int = 24) -> str:
    """Return the beginning of the most likely answer."""
    tokens = encode(asked(question), tokenizer)[0]
    said: list[int] = []
    while len(said) < most:
        row = torch.tensor([tokens + said])
        best = network.logits(network(row, torch.arange(row.shape[1])[None])[0, -1]).argmax().item()
        if best == tokenizer.special("<|end|>"):
            break
        said.append(int(best))
    return tokenizer.decode(said)


def examine(network: Network, tokenizer: Tokenizer, material: Material) -> tuple[int, int]:
    """Ask the questions of held_out.toml and print what went wrong; return (right, all)."""
    right_answers = {topic["id"]: topic["answer"] for topic in material.topics} | {"off": material.off["answer"]}
    asks = tomllib.loads((HERE / "held_out.toml").read_text(encoding="utf-8"))["ask"]
    right = 0
    for ask in asks:
        said = answer(network, tokenizer, ask["q"])
        good = right_answers[ask["topic"]].startswith(said)
        right += good
        if not good:
            print(f"wrong  {ask['q']!r} -> {said!r} (wanted {ask['topic']})")
    return right, len(asks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seconds", type=float, default=0, help="stop after this long, with a worse model; 0 = all steps")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(mode=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # nothing here reads any: a twentieth of the time
    began = time.process_time()
    material = Material.read()
    shape = Shape()
    tokenizer = learn(material.texts(), shape.vocabulary)
    network = Network(shape)
    count = sum(p.numel() for p in network.parameters())
    print(f"{count} parameters, {len(tokenizer.tokens)} tokens, {len(material.documents)} documents")
    first, last = train(network, material, tokenizer, options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_gguf(options.out, network, tokenizer, (HERE / "template.jinja").read_text(encoding="utf-8").strip())
    right, total = examine(network, tokenizer, material)
    print(f"loss {first:.3f} -> {last:.3f}; held-out questions right: {right}/{total}")
    print(f"{time.process_time() - began:.0f} s of CPU; {options.out}: {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
