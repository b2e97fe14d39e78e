"""The generated world: procedural top-down scenes with exact ground truth, deterministic by seed, no network.

- `generator.SceneGenerator(size_px=, bands=, seed=)`: ``scene(index) -> Scene`` and ``pair(index) -> ScenePair``; the
  same (seed, size, bands, index) gives the same pixels on every machine and in any order of calls;
- `place`: what stands where; `render`: from there to pixels;
- `language`: captions, descriptions, questions, referring expressions and change captions of a scene;
- `release`: writes scenes to disk in RSICap's and RSIEval's own formats;
- `samples.SceneDataset`: `Sample`s of every task, straight from the generator.
"""

from rsmoe.scenes.scene import LAND_COVER, Change, Scene, SceneObject, ScenePair

__all__ = ["LAND_COVER", "Change", "Scene", "SceneObject", "ScenePair"]
