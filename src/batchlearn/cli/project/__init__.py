"""The commands of a project folder: init, retrain, promote, rollback, history, status, forget, registry."""
