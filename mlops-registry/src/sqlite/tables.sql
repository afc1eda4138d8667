CREATE TABLE experiments (name TEXT PRIMARY KEY) WITHOUT ROWID, STRICT;

CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    experiment TEXT NOT NULL REFERENCES experiments (name),
    begun TEXT NOT NULL,
    status TEXT NOT NULL,
    started INTEGER NOT NULL,
    ended INTEGER
) WITHOUT ROWID, STRICT;
CREATE INDEX runs_by_start ON runs (started DESC, id DESC);
CREATE INDEX runs_by_experiment ON runs (experiment, started DESC, id DESC);

CREATE TABLE params (
    run TEXT NOT NULL REFERENCES runs (id),
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run, key)
) WITHOUT ROWID, STRICT;

CREATE TABLE tags (
    run TEXT NOT NULL REFERENCES runs (id),
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run, key)
) WITHOUT ROWID, STRICT;

-- `bits` tells two points apart whose values SQL cannot compare; `value` is null for NaN.
CREATE TABLE metrics (
    run TEXT NOT NULL REFERENCES runs (id),
    key TEXT NOT NULL,
    step INTEGER NOT NULL,
    at INTEGER NOT NULL,
    bits INTEGER NOT NULL,
    value REAL,
    PRIMARY KEY (run, key, step, at, bits)
) WITHOUT ROWID, STRICT;

CREATE TABLE versions (
    model TEXT NOT NULL,
    number INTEGER NOT NULL,
    manifest TEXT NOT NULL,
    run TEXT NOT NULL,
    made TEXT NOT NULL,
    PRIMARY KEY (model, number),
    UNIQUE (model, manifest, run)
) WITHOUT ROWID, STRICT;

CREATE TABLE aliases (
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (model, alias),
    FOREIGN KEY (model, number) REFERENCES versions (model, number)
) WITHOUT ROWID, STRICT;

CREATE TABLE alias_moves (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    change TEXT NOT NULL
) STRICT;
CREATE INDEX alias_moves_by_alias ON alias_moves (model, alias, sequence);
