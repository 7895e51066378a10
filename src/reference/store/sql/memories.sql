CREATE TABLE memories (
    id TEXT NOT NULL PRIMARY KEY,
    type TEXT NOT NULL,
    content TEXT NOT NULL,
    metadata TEXT NOT NULL,
    priority TEXT NOT NULL CHECK (priority IN ('low', 'normal', 'high')),
    created_at_us INTEGER NOT NULL
) STRICT;
