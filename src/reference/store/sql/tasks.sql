-- Tasks. Every mutation of one is its next version; a deleted one keeps its row for ever, so that it
-- cannot come back under its id.
CREATE TABLE tasks (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    metadata TEXT NOT NULL CHECK (json_valid(metadata)),
    version INTEGER NOT NULL DEFAULT 1 CHECK (version >= 1),
    created_at_us INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL,
    deleted_at_us INTEGER
) STRICT;
CREATE INDEX tasks_live ON tasks (seq) WHERE deleted_at_us IS NULL;

CREATE TRIGGER tasks_go_one_version_on
BEFORE UPDATE OF name, metadata, version, deleted_at_us ON tasks
WHEN OLD.deleted_at_us IS NOT NULL OR NEW.version IS NOT OLD.version + 1
BEGIN
    SELECT RAISE(ABORT, 'a task goes one version on, and a deleted one nowhere');
END;

CREATE TRIGGER tasks_keep_their_rows BEFORE DELETE ON tasks
BEGIN
    SELECT RAISE(ABORT, 'a deleted task keeps its row');
END;
