"""Effects planted on purpose, looked for by the whole pipeline: what is there is found, what is not there is not.

``make validate`` runs every scenario on simulated heads in the deep view (one CPU second a patient from nothing to
features) and judges them by the protocol. ``--planted-patients 200 --seeds 5`` is the large study. Each scenario and
seed ends in one JSON file and is never computed twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from cnsifusion.imaging.write import write_text
from cnsifusion.models.settings import get_model
from cnsifusion.simulation import SimulationSettings, simulate_cohort
from cnsifusion.training.experiment import Experiment
from cnsifusion.training.metrics import bootstrap, fold_auc, paired_auc_difference, patient_figures
from cnsifusion.training.nested import join
from cnsifusion.training.pretrain import pretrain
from cnsifusion.training.settings import TrainingSettings, digest
from cnsifusion.training.tables import scale_ranking
from cnsifusion.training.train import source_hashes

RADIOMICS, BASE, HYBRID = "radiomics-logistic", "mobilenetv3-large", "mobile-aspp-radfusion"
#: LoG widths (mm) that count as fine and as coarse.
FINE_MM, COARSE_MM = 1.0, 3.0
#: Mean AUC over PERMUTATIONS of the labels of a pipeline that does not leak (protocol).
CHANCE, PERMUTATIONS = (0.45, 0.55), 20
#: The hybrid may be worse than its better branch by this much AUC.
TOLERATED = 0.03
#: From this many patients of a class on, calibration is judged and not only reported, and TOLERATED is taken to the
#: letter; below, one standard error of the paired difference is added (60 + 60 patients: about 0.045).
_EXACT_FROM = 200
#: Patients, controls and seed of the cohort that pre-trains; nothing else uses this seed.
PRETRAINING = (14, 14, 9001)


@dataclass(frozen=True)
class Scenario:
    """What is planted (``effect``, ``pattern``, further ``changes`` of the simulation's settings by name), in which
    ``region`` it is looked for, and what must come out.

    ``least`` patients of each class are simulated however few are asked for: fewer could not show a weak effect.
    """

    name: str
    effect: str
    pattern: str
    region: str
    expected: str
    changes: tuple[tuple[str, Any], ...] = ()
    least: int = 0

    def simulation(self) -> SimulationSettings:
        """Settings of its cohorts."""
        return SimulationSettings(effect=self.effect, pattern=self.pattern, **dict(self.changes))


#: A coarse rise of up to 20 % beside a person's own 5 %. The default (5 % beside 1 %) has the same oracle AUC, since
#: only their ratio counts there, but drowns in what else differs between two people's signal.
_STRONG_COARSE = (("oedema", 0.048), ("oedema_added", 0.2))

SCENARIOS = (
    Scenario("fine", "sublentiform", "fine", "sublentiform", "fine scales lead"),
    Scenario("coarse", "sublentiform", "coarse", "sublentiform", "coarse scales lead", _STRONG_COARSE),
    Scenario("spatial", "sublentiform", "spatial", "sublentiform", "the network finds it, radiomics hardly", least=180),
    Scenario("ventricles", "sublentiform", "fine", "ventricles", "chance"),
    Scenario("nothing", "none", "fine", "sublentiform", "chance"),
)


def run_scenario(
    scenario: Scenario,
    patients: int,
    seed: int,
    settings: TrainingSettings,
    work: Path,
    backbone: Path | None,
    jobs: int = 1,
) -> dict[str, Any]:
    """Figures of ``scenario`` on ``patients`` + ``patients`` simulated heads, from their file where it exists.

    Without ``backbone`` (weights) radiomics alone is run. Where nothing is to be found, radiomics also runs under
    PERMUTATIONS of the labels: they say what chance looks like on these very patients.
    """
    models = [RADIOMICS] if backbone is None else [RADIOMICS, BASE, HYBRID]
    simulated = scenario.simulation()
    name = digest(source_hashes(), scenario.__dict__, patients, seed, settings.to_dict(), simulated.to_dict(), models)
    path = work / "planted" / f"{scenario.name}-{patients}-{seed}-{name}.json"
    if path.exists():
        return json.loads(path.read_text("utf-8"))
    folder = work / f"{scenario.effect}-{scenario.pattern}-{patients}-{seed}"
    manifest = simulate_cohort(folder, patients, patients, seed, simulated, jobs, view="deep")
    experiment = Experiment.open(
        manifest, scenario.region, settings, work / "caches", jobs=jobs,
        backbones={} if backbone is None else {str(get_model(BASE).backbone): backbone},
    )  # fmt: skip
    cohort = experiment.cohort()
    found = {m: join(cohort, folds, cohort.labels) for m, folds in experiment.run(cohort, models).items()}
    result: dict[str, Any] = {"scenario": scenario.name, "patients": patients, "seed": seed}
    result["oracle"] = json.loads((folder / "simulation.json").read_text("utf-8"))["oracle_auc"]
    result["scales"] = {
        str(row.scale_mm): row.top10_auc for row in scale_ranking(cohort, cohort.labels).itertuples()
    }
    result["models"] = {}
    for model, p in found.items():
        figures = patient_figures(p, "mean")
        limits = bootstrap(p, partial(patient_figures, strategy="mean"), settings.bootstrap, seed)
        result["models"][model] = {
            "auc": fold_auc(p), "pooled": figures["auc"], "interval": limits["auc"],
            "slope": figures["calibration_slope"], "slope_interval": limits["calibration_slope"],
            "brier": figures["brier"],
        }  # fmt: skip
    result["differences"] = {
        f"{a} - {b}": paired_auc_difference(found[a], found[b], settings.bootstrap, seed)
        for a, b in combinations(reversed(models), 2)
    }
    if scenario.expected == "chance":
        result["permuted"] = [
            fold_auc(experiment.predictions(cohort, RADIOMICS, k)) for k in range(1, PERMUTATIONS + 1)
        ]
    write_text(json.dumps(result, indent=1), path)
    return json.loads(path.read_text("utf-8"))  # the same from the file as fresh


def pretrained(settings: TrainingSettings, work: Path, steps: int, jobs: int) -> Path:
    """The backbone's weights, trained without labels on patients of a seed that no scenario uses; made once."""
    path = work / f"backbone-{steps}.pt"
    if not path.exists():
        manifest = simulate_cohort(work / "pretraining", *PRETRAINING, SimulationSettings(), jobs, view="deep")
        experiment = Experiment.open(
            manifest, "sublentiform", settings, work / "caches", folds=0, jobs=jobs
        )
        pretrain(experiment, get_model(BASE), path, steps, 1)
    return path


def judge(scenario: Scenario, results: Sequence[dict[str, Any]]) -> list[str]:
    """What one scenario's results (one for each seed) say against the protocol, one sentence each; empty is well."""
    patients, problems = results[0]["patients"], []
    margin = 3 * np.sqrt((2 * patients + 1) / (12 * patients**2) / len(results))
    areas = {m: float(np.mean([r["models"][m]["auc"] for r in results])) for m in results[0]["models"]}
    scales = {float(s): float(np.mean([r["scales"][s] for r in results])) for s in results[0]["scales"]}
    fine = max(v for s, v in scales.items() if 0 < s <= FINE_MM)
    coarse = max(v for s, v in scales.items() if s >= COARSE_MM)
    if scenario.expected == "chance":
        problems += _not_chance(areas, [r["permuted"] for r in results])
    if scenario.expected == "fine scales lead" and fine <= coarse:
        problems.append(f"fine scales ({fine:.3f}) do not lead over coarse ones ({coarse:.3f})")
    if scenario.expected == "coarse scales lead" and coarse <= fine:
        problems.append(f"coarse scales ({coarse:.3f}) do not lead over fine ones ({fine:.3f})")
    if scenario.name == "spatial" and BASE in areas and max(areas[BASE], areas[HYBRID]) < 0.5 + margin:
        problems.append(f"no network finds the spatial effect ({areas[BASE]:.3f}, {areas[HYBRID]:.3f})")
    if HYBRID in areas and scenario.expected != "chance":
        better = max(BASE, RADIOMICS, key=lambda m: areas[m])
        lost, error = areas[better] - areas[HYBRID], _standard_error(results, f"{HYBRID} - {better}")
        if lost > TOLERATED + (0 if patients >= _EXACT_FROM else error):
            problems.append(f"the hybrid is worse than its better branch by {lost:.3f}")
    for r in results:
        for m, figures in r["models"].items():
            if r["oracle"] is not None and figures["interval"][0] > max(r["oracle"], 0.5):
                problems.append(f"seed {r['seed']}: {m} is above the oracle ({r['oracle']:.3f}): leakage")
    if scenario.name == "fine" and patients >= _EXACT_FROM:
        for m in (RADIOMICS, HYBRID):
            figures = results[0]["models"].get(m)
            if figures and not (0.8 <= figures["slope"] <= 1.25 and figures["brier"] < 0.25):
                problems.append(f"{m}: calibration slope {figures['slope']:.2f}, Brier {figures['brier']:.3f}")
    if scenario.expected != "chance" and max(areas.values()) < 0.5 + margin / 3:
        problems.append(f"no model finds what was planted (best AUC {max(areas.values()):.3f})")
    return [f"{scenario.name}: {p}" for p in problems]


def _standard_error(results: Sequence[dict[str, Any]], difference: str) -> float:
    """Standard error of a paired difference averaged over ``results``, from their 95 % intervals."""
    each = [(high - low) / (2 * 1.96) for _, low, high in (r["differences"][difference] for r in results)]
    return float(np.sqrt(np.sum(np.square(each))) / len(each))


def _not_chance(areas: dict[str, float], permuted: list[list[float]]) -> list[str]:
    """The permutations' mean must lie within CHANCE, and the true labels within 3 SD of the permutations.

    One cross-validated AUC of 60 + 60 patients without any effect has an SD of about 0.08 (see training.md), so the
    narrow band can only be asked of a mean; the SD is that of these patients' own permutations.
    """
    mean = float(np.mean(permuted))
    spread = float(np.sqrt(np.mean([np.var(p, ddof=1) for p in permuted]) / len(permuted)))
    problems = [] if CHANCE[0] <= mean <= CHANCE[1] else [f"shuffled labels give {mean:.3f} on average"]
    return problems + [
        f"{m} {a:.3f} is not chance (shuffled labels: {mean:.3f}, SD {spread:.3f})"
        for m, a in areas.items()
        if abs(a - mean) > 3 * spread
    ]


def line(result: dict[str, Any]) -> str:
    """One result as one line of text."""
    models = "; ".join(
        f"{m} {f['auc']:.3f} ({f['pooled']:.3f}, {f['interval'][0]:.2f} to {f['interval'][1]:.2f}; slope "
        f"{f['slope']:.2f}, Brier {f['brier']:.3f})"
        for m, f in result["models"].items()
    )
    best = max(result["scales"], key=result["scales"].get)
    oracle = "none" if result["oracle"] is None else f"{result['oracle']:.3f}"
    shuffled = f"; shuffled labels {np.mean(result['permuted']):.3f}" if "permuted" in result else ""
    return f"{result['scenario']}, seed {result['seed']}: {models}; oracle {oracle}; leading scale {best} mm{shuffled}"
