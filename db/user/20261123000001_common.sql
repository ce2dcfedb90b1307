-- migrate:up

-- The same tables in every service's schema.

-- Event store and outbox in one: append-only, never updated or deleted.
-- Contiguous versions per aggregate; each row's hash covers the one before.
CREATE TABLE events (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  agg_type VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  agg_id BINARY(16) NOT NULL,
  version INT UNSIGNED NOT NULL,
  type VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  pkey BINARY(16) NOT NULL,
  data MEDIUMTEXT NOT NULL,
  actor VARCHAR(64) NOT NULL,
  traceparent VARCHAR(55) NULL,
  prev_hash BINARY(32) NULL,
  hash BINARY(32) NOT NULL,
  created_at BIGINT NOT NULL,
  UNIQUE KEY events_aggregate (agg_type, agg_id, version),
  KEY events_created (created_at),
  CONSTRAINT events_version CHECK (version >= 1),
  CONSTRAINT events_chain CHECK ((version = 1) = (prev_hash IS NULL))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- One row per Idempotency-Key that has been acted on.
-- state: 0 in flight until lease_until, 1 done.
CREATE TABLE idempotency (
  scope BINARY(32) NOT NULL PRIMARY KEY,
  fingerprint BINARY(32) NOT NULL,
  state TINYINT NOT NULL,
  lease_until BIGINT NOT NULL,
  resource BINARY(16) NULL,
  status SMALLINT NULL,
  location VARCHAR(255) NULL,
  etag VARCHAR(64) NULL,
  content_type VARCHAR(64) NULL,
  body MEDIUMBLOB NULL,
  created_at BIGINT NOT NULL,
  KEY idempotency_created (created_at),
  CONSTRAINT idempotency_state CHECK (state IN (0, 1)),
  CONSTRAINT idempotency_done CHECK (state = 0 OR status IS NOT NULL)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What has been consumed: the last version applied, per foreign aggregate.
CREATE TABLE inbox (
  agg_type VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  agg_id BINARY(16) NOT NULL,
  last_version INT UNSIGNED NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (agg_type, agg_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The sidecar's place in events; epoch fences off a former leader.
CREATE TABLE relay_checkpoint (
  name VARCHAR(32) NOT NULL PRIMARY KEY,
  epoch BIGINT UNSIGNED NOT NULL,
  position BIGINT UNSIGNED NOT NULL,
  gaps MEDIUMTEXT NOT NULL,
  updated_at BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Events that this service has refused or cannot take yet, held back by key.
CREATE TABLE parked_events (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  topic VARCHAR(128) NOT NULL,
  part INT NOT NULL,
  offs BIGINT NOT NULL,
  pkey VARBINARY(64) NOT NULL,
  ce_id VARCHAR(128) NOT NULL,
  envelope MEDIUMTEXT NOT NULL,
  reason VARCHAR(255) NOT NULL,
  attempts INT NOT NULL,
  next_try_at BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  UNIQUE KEY parked_position (topic, part, offs),
  KEY parked_key (pkey, id),
  KEY parked_due (next_try_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;


-- migrate:down

DROP TABLE parked_events;
DROP TABLE relay_checkpoint;
DROP TABLE inbox;
DROP TABLE idempotency;
DROP TABLE events;
