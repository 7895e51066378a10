-- Decisions that have let a guarded tool run. The primary key is what makes it once.
CREATE TABLE consumed_decisions (
    issuer TEXT NOT NULL,
    decision_id TEXT NOT NULL,
    fence_token INTEGER NOT NULL,
    operation_id TEXT NOT NULL UNIQUE,
    PRIMARY KEY (issuer, decision_id)
) STRICT, WITHOUT ROWID;
