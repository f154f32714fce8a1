"""The demo: the main job on real parts, with traffic whose harm is known and labelled."""
