-- What was last said of each session, and under the empty id of all of them: the later word counts.
CREATE TABLE privacy (
    session_id TEXT NOT NULL PRIMARY KEY,
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    word INTEGER NOT NULL
) STRICT;
