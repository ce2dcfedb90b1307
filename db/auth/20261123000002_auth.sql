-- Accounts and sessions of the auth service.
--
-- users.password   argon2id PHC string with pepper kid (lib/opay_password.h)
-- users.roles      bits: 1 USER, 2 ADMIN
-- users.cred_epoch moves when credentials change: sessions of an older epoch
--                  cannot be refreshed
-- sessions         one row per login, for its whole life (lib/opay_token.h);
--                  hashes only; times are of the database's clock, ms UTC

-- migrate:up

CREATE TABLE users (
    id          BINARY(16)        NOT NULL PRIMARY KEY,
    email       VARCHAR(254) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    password    VARCHAR(160) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    roles       SMALLINT UNSIGNED NOT NULL,
    status      VARCHAR(16)       NOT NULL,
    cred_epoch  INT UNSIGNED      NOT NULL DEFAULT 0,
    version     INT UNSIGNED      NOT NULL,
    created_at  BIGINT            NOT NULL,
    updated_at  BIGINT            NOT NULL,
    UNIQUE KEY users_email (email),
    CONSTRAINT users_roles CHECK (roles BETWEEN 1 AND 3),
    CONSTRAINT users_status CHECK (status IN ('ACTIVE', 'LOCKED', 'DELETED'))
) ENGINE=InnoDB;

CREATE TABLE sessions (
    sid            BINARY(16)       NOT NULL PRIMARY KEY,
    user_id        BINARY(16)       NOT NULL,
    gen            INT UNSIGNED     NOT NULL,
    cur_hash       BINARY(32)       NOT NULL,
    prev_hash      BINARY(32)       NULL,
    rotated_at     BIGINT           NOT NULL,
    created_at     BIGINT           NOT NULL,
    idle_exp       BIGINT           NOT NULL,
    abs_exp        BIGINT           NOT NULL,
    revoked_at     BIGINT           NULL,
    revoke_reason  VARCHAR(16)      NULL,
    cred_epoch     INT UNSIGNED     NOT NULL,
    device         VARCHAR(128)     NULL,
    KEY sessions_user (user_id, revoked_at),
    KEY sessions_abs (abs_exp),
    CONSTRAINT sessions_user_fk FOREIGN KEY (user_id) REFERENCES users (id),
    CONSTRAINT sessions_revoked CHECK
        ((revoked_at IS NULL) = (revoke_reason IS NULL)),
    CONSTRAINT sessions_reason CHECK
        (revoke_reason IN ('LOGOUT', 'REUSE'))
) ENGINE=InnoDB;

-- migrate:down

DROP TABLE sessions;
DROP TABLE users;
