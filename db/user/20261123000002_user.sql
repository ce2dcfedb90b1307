-- Profiles of the user service: made from user.created, or at the first sight
-- of a valid token when that event is late (then email and name are NULL).
--
-- version        the ETag; moves with every change
-- event_version  the number of user.updated events of this profile

-- migrate:up

CREATE TABLE profiles (
    id             BINARY(16)        NOT NULL PRIMARY KEY,
    email          VARCHAR(254)      NULL,
    name           VARCHAR(100)      NULL,
    phone_number   VARCHAR(32)       NULL,
    address        VARCHAR(255)      NULL,
    roles          SMALLINT UNSIGNED NOT NULL,
    status         VARCHAR(16)       NOT NULL,
    version        INT UNSIGNED      NOT NULL,
    event_version  INT UNSIGNED      NOT NULL,
    created_at     BIGINT            NOT NULL,
    updated_at     BIGINT            NOT NULL,
    KEY profiles_created (created_at, id),
    KEY profiles_email (email),
    CONSTRAINT profiles_version CHECK (version >= 1),
    CONSTRAINT profiles_roles CHECK (roles BETWEEN 1 AND 3),
    CONSTRAINT profiles_status CHECK (status IN ('ACTIVE', 'LOCKED', 'DELETED'))
) ENGINE=InnoDB;

-- migrate:down

DROP TABLE profiles;
