-- The payment service: payments, attempts to charge, refunds, and the orders
-- that can be paid.  Valid on MySQL 8.0.16+ and MariaDB 10.11+.  Times are ms
-- UTC, money is in minor units, ids are UUIDv7.

-- migrate:up

-- What the order service said last about an order; version is the order's.
CREATE TABLE payable_order (
  order_id BINARY(16) NOT NULL PRIMARY KEY,
  user_id BINARY(16) NOT NULL,
  total BIGINT NOT NULL,
  currency CHAR(3) NOT NULL,
  status VARCHAR(16) NOT NULL,
  pending_operation VARCHAR(8) NULL,
  version INT UNSIGNED NOT NULL,
  expires_at BIGINT NULL,
  updated_at BIGINT NOT NULL,
  CONSTRAINT payable_order_total_ck
    CHECK (total BETWEEN 0 AND 9007199254740991)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- version counts the payment's events.  outcome_unknown: the provider was
-- asked and nobody knows what came of it.  cancel_wish: a cancel came while
-- the outcome was open.
CREATE TABLE payments (
  id BINARY(16) NOT NULL PRIMARY KEY,
  order_id BINARY(16) NOT NULL,
  user_id BINARY(16) NOT NULL,
  amount BIGINT NOT NULL,
  currency CHAR(3) NOT NULL,
  method VARCHAR(16) NOT NULL,
  provider VARCHAR(16) NOT NULL,
  status VARCHAR(16) NOT NULL,
  outcome_unknown TINYINT NOT NULL DEFAULT 0,
  cancel_wish TINYINT NOT NULL DEFAULT 0,
  refunds_open INT NOT NULL DEFAULT 0,
  refunded BIGINT NOT NULL DEFAULT 0,
  refund_pending BIGINT NOT NULL DEFAULT 0,
  transaction_id VARCHAR(200) NULL,
  failure_code VARCHAR(64) NULL,
  failure_reason VARCHAR(255) NULL,
  cancellation_reason VARCHAR(255) NULL,
  refund_reason VARCHAR(255) NULL,
  cancelled_at BIGINT NULL,
  refund_requested_at BIGINT NULL,
  refunded_at BIGINT NULL,
  traceparent VARCHAR(55) NULL,
  version INT UNSIGNED NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  KEY payments_user (user_id, created_at, id),
  KEY payments_user_status (user_id, status, created_at, id),
  KEY payments_created (created_at, id),
  KEY payments_order (order_id, created_at),
  CONSTRAINT payments_status_ck CHECK (status IN
    ('PENDING', 'PROCESSING', 'SUCCESS', 'FAILED', 'CANCELLED',
     'REFUND_PENDING', 'REFUNDED')),
  CONSTRAINT payments_method_ck CHECK (method IN
    ('CREDIT_CARD', 'DEBIT_CARD', 'BANK_TRANSFER', 'PAYPAL')),
  CONSTRAINT payments_amount_ck
    CHECK (amount BETWEEN 1 AND 9007199254740991),
  CONSTRAINT payments_refunded_ck CHECK (refunded >= 0),
  CONSTRAINT payments_pending_ck CHECK (refund_pending >= 0),
  CONSTRAINT payments_refunds_ck
    CHECK (refunded + refund_pending <= amount),
  CONSTRAINT payments_charged_ck CHECK (refunded + refund_pending = 0
    OR status IN ('SUCCESS', 'REFUND_PENDING', 'REFUNDED')),
  CONSTRAINT payments_unknown_ck
    CHECK (outcome_unknown = 0 OR status = 'PROCESSING'),
  CONSTRAINT payments_open_ck CHECK (refunds_open >= 0),
  CONSTRAINT payments_version_ck CHECK (version > 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- One row per charge asked of the provider; SENT is committed before a byte
-- leaves.  active_key lets one order have one live attempt; declined ones
-- repeat freely.  next_try_at: when the provider is to be asked; NULL once
-- settled.  repeat_at: the same request is to be sent again.
CREATE TABLE payment_attempts (
  id BINARY(16) NOT NULL PRIMARY KEY,
  payment_id BINARY(16) NOT NULL,
  order_id BINARY(16) NOT NULL,
  state VARCHAR(16) NOT NULL,
  token VARCHAR(200) NULL,
  provider_id VARCHAR(200) NULL,
  provider_code VARCHAR(64) NULL,
  tries INT NOT NULL DEFAULT 0,
  next_try_at BIGINT NULL,
  repeat_at BIGINT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  active_key BINARY(16) GENERATED ALWAYS AS
    (CASE WHEN state IN ('INIT', 'SENT', 'UNKNOWN', 'APPROVED')
          THEN order_id ELSE NULL END) STORED,
  UNIQUE KEY attempts_active (active_key),
  KEY attempts_payment (payment_id),
  KEY attempts_due (next_try_at),
  KEY attempts_repeat (repeat_at),
  CONSTRAINT attempts_payment_fk FOREIGN KEY (payment_id)
    REFERENCES payments (id),
  CONSTRAINT attempts_state_ck CHECK (state IN
    ('INIT', 'SENT', 'UNKNOWN', 'APPROVED', 'DECLINED')),
  CONSTRAINT attempts_approved_ck
    CHECK (state <> 'APPROVED' OR provider_id IS NOT NULL),
  CONSTRAINT attempts_open_ck
    CHECK (next_try_at IS NOT NULL OR state IN ('APPROVED', 'DECLINED'))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE refunds (
  id BINARY(16) NOT NULL PRIMARY KEY,
  payment_id BINARY(16) NOT NULL,
  amount BIGINT NOT NULL,
  state VARCHAR(16) NOT NULL,
  reason VARCHAR(255) NOT NULL,
  provider_id VARCHAR(200) NULL,
  provider_code VARCHAR(64) NULL,
  tries INT NOT NULL DEFAULT 0,
  next_try_at BIGINT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  KEY refunds_payment (payment_id, created_at),
  KEY refunds_due (next_try_at),
  CONSTRAINT refunds_payment_fk FOREIGN KEY (payment_id)
    REFERENCES payments (id),
  CONSTRAINT refunds_amount_ck CHECK (amount > 0),
  CONSTRAINT refunds_state_ck CHECK (state IN
    ('INIT', 'SENT', 'UNKNOWN', 'SUCCEEDED', 'FAILED')),
  CONSTRAINT refunds_open_ck
    CHECK (next_try_at IS NOT NULL OR state IN ('SUCCEEDED', 'FAILED'))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- migrate:down

DROP TABLE refunds;
DROP TABLE payment_attempts;
DROP TABLE payments;
DROP TABLE payable_order;
