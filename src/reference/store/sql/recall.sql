-- Memories get an order, a version and their words in an index.
CREATE TABLE memories_in_order (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    content TEXT NOT NULL,
    metadata TEXT NOT NULL,
    priority TEXT NOT NULL CHECK (priority IN ('low', 'normal', 'high')),
    version INTEGER NOT NULL DEFAULT 1,
    created_at_us INTEGER NOT NULL
) STRICT;
INSERT INTO memories_in_order (id, type, content, metadata, priority, created_at_us)
    SELECT id, type, content, metadata, priority, created_at_us FROM memories
    ORDER BY created_at_us, rowid;
DROP TABLE memories;
ALTER TABLE memories_in_order RENAME TO memories;

CREATE VIRTUAL TABLE memories_fts USING fts5 (content, content = 'memories', content_rowid = 'seq');
INSERT INTO memories_fts (memories_fts) VALUES ('rebuild');

CREATE TRIGGER memories_fts_insert AFTER INSERT ON memories
BEGIN
    INSERT INTO memories_fts (rowid, content) VALUES (NEW.seq, NEW.content);
END;
CREATE TRIGGER memories_fts_delete AFTER DELETE ON memories
BEGIN
    INSERT INTO memories_fts (memories_fts, rowid, content)
        VALUES ('delete', OLD.seq, OLD.content);
END;
CREATE TRIGGER memories_fts_update AFTER UPDATE OF content ON memories
BEGIN
    INSERT INTO memories_fts (memories_fts, rowid, content)
        VALUES ('delete', OLD.seq, OLD.content);
    INSERT INTO memories_fts (rowid, content) VALUES (NEW.seq, NEW.content);
END;

-- The ledger that the vector index is rebuilt from: 32-bit floats, little-endian. A memory without a
-- row waits for its vector.
CREATE TABLE vectors (
    memory_id TEXT NOT NULL PRIMARY KEY,
    embedder TEXT NOT NULL,
    vector BLOB NOT NULL
) STRICT;
CREATE TRIGGER vectors_go_with_their_memories AFTER DELETE ON memories
BEGIN
    DELETE FROM vectors WHERE memory_id = OLD.id;
END;
