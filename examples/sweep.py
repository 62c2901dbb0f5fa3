"""A parameter sweep: the magnet that loses its magnetism, the Ising model in two dimensions.

    pip install numpy pillow
    python examples/sweep.py            # some ten seconds; draws ising.png

A square lattice of spins at a temperature T, simulated by the Metropolis algorithm: one task per
temperature, called by it (`T=2.30`), with a seed of its own, so that every run gives the same
figures. Onsager solved this model exactly in 1944; the picture shows the tasks' points on his
curves, and the phase transition at Tc = 2.269.

The exit code is 0 if the simulation agrees with the theory. With `--dir FOLDER` the sweep may be
killed, and carries on where it was when started again.
"""

from __future__ import annotations

import argparse

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mesh import Mesh

TC = 2 / np.log(1 + np.sqrt(2))


# The task --------------------------------------------------------------------------------------


def simulate(T: float, seed: int, size: int, sweeps: int) -> tuple[float, float, float]:
    """Magnetisation, energy and specific heat per spin of size × size spins at temperature T."""
    rng = np.random.default_rng(seed)
    spins = np.ones((size, size), dtype=np.int8)
    colours = np.indices(spins.shape).sum(axis=0) % 2
    # The chance to flip, by (spin × sum of its neighbours) + 4.
    chance = np.exp(-2 * np.arange(-4, 5) / T).astype(np.float32)

    magnetisation, energy = np.empty(sweeps), np.empty(sweeps)
    for sweep in range(-sweeps // 4, sweeps):  # the first ones, to settle, aren't measured
        # Like a chessboard: the neighbours of one colour are of the other, so that all of one
        # colour may flip at once.
        for colour in (0, 1):
            drawn = rng.random(spins.shape, dtype=np.float32)
            flips = (drawn < chance[spins * neighbours(spins) + 4]) & (colours == colour)
            spins[flips] *= -1
        if sweep >= 0:
            magnetisation[sweep] = abs(spins.mean())
            energy[sweep] = -(spins * neighbours(spins)).mean() / 2
    specific_heat = energy.var() * spins.size / T**2
    return float(magnetisation.mean()), float(energy.mean()), float(specific_heat)


def neighbours(spins: np.ndarray) -> np.ndarray:
    """The sum of the four neighbours of each spin; the lattice is a torus."""
    return sum(np.roll(spins, step, axis) for axis in (0, 1) for step in (-1, 1))


# The theory ------------------------------------------------------------------------------------


def onsager(T: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same three figures of an endless lattice, exactly."""
    magnetisation = np.maximum(0, 1 - np.sinh(2 / T) ** -4) ** (1 / 8)
    modulus = 2 * np.sinh(2 / T) / np.cosh(2 / T) ** 2
    bracket = 1 + 2 / np.pi * (2 * np.tanh(2 / T) ** 2 - 1) * elliptic_k(modulus)
    energy = -bracket / np.tanh(2 / T)
    return magnetisation, energy, np.gradient(energy, T)


def elliptic_k(modulus: np.ndarray) -> np.ndarray:
    """The complete elliptic integral of the first kind, by the arithmetic-geometric mean."""
    a, b = np.ones_like(modulus), np.sqrt(1 - modulus**2)
    for _ in range(20):
        a, b = (a + b) / 2, np.sqrt(a * b)
    return np.pi / 2 / a


# The picture -----------------------------------------------------------------------------------

SIZE = 400  # of one panel, in pixels
FINE = 3  # drawn this much larger and then shrunk, which smooths the edges
INK, FAINT, THEORY = "#222222", "#dddddd", "#888888"
LOW, HIGH = -1e9, 1e9  # drawn at a panel's edges, whatever its scale
PANELS = (
    ("magnetisation |m|", (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
    ("energy per spin", (-2.0, -1.5, -1.0, -0.5)),
    ("specific heat per spin", (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)),
)


class Panel:
    """One plot: knows where a temperature and a figure lie on the canvas."""

    LEFT, RIGHT, TOP, BOTTOM = 50, 15, 45, 50  # margins
    TICKS = (1.5, 2.0, 2.5, 3.0, 3.5)

    def __init__(self, draw: ImageDraw.ImageDraw, column: int, ticks: tuple[float, ...]):
        self.draw, self.offset, self.ticks = draw, column * SIZE, ticks

    def at(self, T: float, figure: float) -> tuple[float, float]:
        x = np.interp(T, (1.4, 3.6), (self.LEFT, SIZE - self.RIGHT))
        room = 0.03 * (self.ticks[-1] - self.ticks[0])
        ends = (self.ticks[0] - room, self.ticks[-1] + room)
        y = np.interp(figure, ends, (SIZE - self.BOTTOM, self.TOP))
        return (self.offset + x) * FINE, y * FINE

    def line(self, points: list[tuple[float, float]], colour: str, width: float) -> None:
        places = [self.at(*point) for point in points]
        self.draw.line(places, fill=colour, width=round(width * FINE), joint="curve")

    def text(self, place: tuple[float, float], text: str, anchor: str, size: int = 12) -> None:
        font = ImageFont.load_default(size * FINE)
        self.draw.text(place, text, fill=INK, anchor=anchor, font=font)

    def axes(self, title: str) -> None:
        for T in self.TICKS:
            self.line([(T, LOW), (T, HIGH)], FAINT, 1)
            x, y = self.at(T, LOW)
            self.text((x, y + 6 * FINE), f"{T}", "ma")
        for figure in self.ticks:
            self.line([(LOW, figure), (HIGH, figure)], FAINT, 1)
            x, y = self.at(LOW, figure)
            self.text((x - 6 * FINE, y), f"{figure:.1f}", "rm")
        self.line([(LOW, LOW), (HIGH, LOW), (HIGH, HIGH), (LOW, HIGH), (LOW, LOW)], INK, 1)
        x, y = self.at(2.5, HIGH)
        self.text((x, y - 8 * FINE), title, "md", 15)
        x, y = self.at(2.5, LOW)
        self.text((x, y + 24 * FINE), "temperature T", "ma")

    def points(self, points: list[tuple[float, float]]) -> None:
        """The simulation, from cold blue to hot red."""
        for T, figure in points:
            (x, y), radius = self.at(T, figure), 3.5 * FINE
            heat = int(np.interp(T, (1.5, 3.5), (0, 255)))
            box = (x - radius, y - radius, x + radius, y + radius)
            self.draw.ellipse(box, fill=(heat, 60, 255 - heat))


def draw_picture(path: str, Ts: np.ndarray, figures: np.ndarray) -> None:
    """Three panels side by side: what was simulated, as points, on what is exact, as a line."""
    canvas = Image.new("RGB", (len(PANELS) * SIZE * FINE, SIZE * FINE), "white")
    draw = ImageDraw.Draw(canvas)
    curve = np.linspace(Ts[0], Ts[-1], 500)
    for column, (title, ticks) in enumerate(PANELS):
        panel = Panel(draw, column, ticks)
        panel.axes(title)
        panel.line([(TC, LOW), (TC, HIGH)], THEORY, 1)
        panel.line(list(zip(curve, onsager(curve)[column])), THEORY, 2)
        panel.points(list(zip(Ts, figures[column])))
    canvas.resize((len(PANELS) * SIZE, SIZE), Image.Resampling.LANCZOS).save(path)


# The sweep -------------------------------------------------------------------------------------


def sweep(Ts: np.ndarray, size: int, sweeps: int, folder: str | None) -> np.ndarray:
    """One task per temperature; the figures as one row each."""
    with Mesh(dir=folder) as m:
        group = m.submit_many(
            simulate,
            Ts.tolist(),
            range(len(Ts)),  # the seeds
            [size] * len(Ts),
            [sweeps] * len(Ts),
            ids=[f"T={T:.2f}" for T in Ts],
            name="ising",
        )
        for progress in group.progress():
            print(f"\r{progress.done} of {progress.total} temperatures", end="", flush=True)
        return np.array(group.results()).T


def report(Ts: np.ndarray, figures: np.ndarray) -> None:
    """A table of what was simulated, and whether the theory agrees."""
    m, e, c = figures
    m_exact, e_exact, _ = onsager(Ts)
    print(f"\n\n{'T':>5} {'|m|':>7} {'exact':>7} {'energy':>8} {'exact':>8} {'heat':>6}")
    for row in zip(Ts, m, m_exact, e, e_exact, c):
        print("{:5.2f} {:7.3f} {:7.3f} {:8.3f} {:8.3f} {:6.2f}".format(*row))

    peak = Ts[c.argmax()]
    print(f"\nThe specific heat peaks at T = {peak:.2f}; Onsager's exact Tc is {TC:.3f}.")
    if not m[0] > 0.9:
        raise SystemExit("a cold magnet should be magnetic")
    if not m[-1] < 0.3:
        raise SystemExit("a hot magnet should not be magnetic")
    if not abs(peak - TC) < 0.15:
        raise SystemExit("the transition is not where it should be")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small lattice, few temperatures")
    parser.add_argument("--dir", help="folder of the mesh (default: a temporary one)")
    parser.add_argument("--out", default="ising.png", help="the picture (default: ising.png)")
    options = parser.parse_args()

    count, size, sweeps = (21, 32, 400) if options.quick else (41, 64, 2000)
    Ts = np.linspace(1.5, 3.5, count)
    figures = sweep(Ts, size, sweeps, options.dir)
    draw_picture(options.out, Ts, figures)
    report(Ts, figures)
    print(f"The picture is {options.out}.")


if __name__ == "__main__":
    main()
