"""Made pictures: packs and their near-twins, scenes, a camera's views."""
