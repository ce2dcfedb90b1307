-- The order service: catalogue, orders, their items and addresses.
-- Valid on MySQL 8.0.16+ and MariaDB 10.11+.  Times are ms UTC, money is in
-- minor units, ids are UUIDv7.

-- migrate:up

CREATE TABLE products (
  id BINARY(16) NOT NULL PRIMARY KEY,
  name VARCHAR(200) NOT NULL,
  price BIGINT NOT NULL,
  currency CHAR(3) NOT NULL,
  active TINYINT NOT NULL DEFAULT 1,
  version INT UNSIGNED NOT NULL DEFAULT 1,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  KEY products_list (active, created_at, id),
  CONSTRAINT products_name_ck CHECK (CHAR_LENGTH(name) > 0),
  CONSTRAINT products_price_ck
    CHECK (price BETWEEN 0 AND 9007199254740991),
  CONSTRAINT products_active_ck CHECK (active IN (0, 1))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- version counts the order's events.  captured_amount, refunded_amount and
-- refunds_open are what the payment events said of payment_id.
CREATE TABLE orders (
  id BINARY(16) NOT NULL PRIMARY KEY,
  order_number VARCHAR(24) NOT NULL,
  user_id BINARY(16) NOT NULL,
  status VARCHAR(16) NOT NULL,
  financial_status VARCHAR(20) NOT NULL,
  pending_operation VARCHAR(8) NULL,
  currency CHAR(3) NOT NULL,
  total_amount BIGINT NOT NULL,
  captured_amount BIGINT NOT NULL DEFAULT 0,
  refunded_amount BIGINT NOT NULL DEFAULT 0,
  refunds_open INT NOT NULL DEFAULT 0,
  payment_id BINARY(16) NULL,
  failure_reason VARCHAR(255) NULL,
  version INT UNSIGNED NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  UNIQUE KEY orders_number (order_number),
  KEY orders_user (user_id, created_at, id),
  KEY orders_user_status (user_id, status, created_at, id),
  KEY orders_created (created_at, id),
  KEY orders_expiry (status, expires_at),
  CONSTRAINT orders_status_ck CHECK (status IN
    ('CREATED', 'PENDING', 'PAID', 'FAILED', 'COMPLETED', 'CANCELLED')),
  CONSTRAINT orders_financial_ck CHECK (financial_status IN
    ('UNPAID', 'PROCESSING', 'PAID', 'PARTIALLY_REFUNDED', 'REFUNDED')),
  CONSTRAINT orders_pending_ck
    CHECK (pending_operation IN ('PAY', 'CANCEL', 'UPDATE')),
  CONSTRAINT orders_busy_ck
    CHECK (status <> 'PENDING' OR pending_operation IS NOT NULL),
  CONSTRAINT orders_total_ck
    CHECK (total_amount BETWEEN 0 AND 9007199254740991),
  CONSTRAINT orders_captured_ck CHECK (captured_amount >= 0),
  CONSTRAINT orders_refunded_ck
    CHECK (refunded_amount BETWEEN 0 AND captured_amount),
  CONSTRAINT orders_refunds_open_ck CHECK (refunds_open >= 0),
  CONSTRAINT orders_paid_ck CHECK (status NOT IN ('PAID', 'COMPLETED')
    OR captured_amount = total_amount),
  CONSTRAINT orders_version_ck CHECK (version > 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE order_items (
  order_id BINARY(16) NOT NULL,
  item_no SMALLINT NOT NULL,
  product_id BINARY(16) NOT NULL,
  product_name VARCHAR(200) NOT NULL,
  quantity INT NOT NULL,
  price BIGINT NOT NULL,
  subtotal BIGINT NOT NULL,
  PRIMARY KEY (order_id, product_id),
  CONSTRAINT order_items_order_fk FOREIGN KEY (order_id)
    REFERENCES orders (id),
  CONSTRAINT order_items_number_ck CHECK (item_no BETWEEN 0 AND 99),
  CONSTRAINT order_items_quantity_ck CHECK (quantity BETWEEN 1 AND 9999),
  CONSTRAINT order_items_price_ck CHECK (price >= 0),
  CONSTRAINT order_items_subtotal_ck CHECK (subtotal = price * quantity)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The one place of an order's personal data: deleting the row erases it.
-- The event holds HMAC-SHA-256 of it under the salt only, which says nothing
-- once the salt is gone.
CREATE TABLE order_addresses (
  order_id BINARY(16) NOT NULL PRIMARY KEY,
  salt BINARY(16) NOT NULL,
  address VARCHAR(255) NOT NULL,
  CONSTRAINT order_addresses_order_fk FOREIGN KEY (order_id)
    REFERENCES orders (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- migrate:down

DROP TABLE order_addresses;
DROP TABLE order_items;
DROP TABLE orders;
DROP TABLE products;
