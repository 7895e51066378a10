-- Decisions that have let a guarded tool run. The primary key is what makes it once, and each
-- replay of its dead letter (generation 1, 2, ...) once more.
CREATE TABLE consumed_decisions (
    issuer TEXT NOT NULL,
    decision_id TEXT NOT NULL,
    replay_generation INTEGER NOT NULL DEFAULT 0,
    fence_token INTEGER NOT NULL,
    operation_id TEXT NOT NULL UNIQUE,
    PRIMARY KEY (issuer, decision_id, replay_generation)
) STRICT, WITHOUT ROWID;
