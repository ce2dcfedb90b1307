-- Products of the development stack.  Not a migration: an installation has
-- its own catalogue.  Run as the schema's owner; running it again changes
-- nothing.

INSERT IGNORE INTO products
    (id, name, price, currency, active, version, created_at, updated_at)
VALUES
    (X'01A205B3D00070A080B05EED00000001', 'Espresso beans, 1 kg', 18900, 'KRW', 1, 1, 1795392000000, 1795392000000),
    (X'01A205B3D00170A180B15EED00000002', 'Pour-over set', 32000, 'KRW', 1, 1, 1795392000001, 1795392000001),
    (X'01A205B3D00270A280B25EED00000003', 'Paper filters, 100 pieces', 4500, 'KRW', 1, 1, 1795392000002, 1795392000002),
    (X'01A205B3D00370A380B35EED00000004', 'Hand grinder', 54000, 'KRW', 1, 1, 1795392000003, 1795392000003),
    (X'01A205B3D00470A480B45EED00000005', 'Cup and saucer', 12500, 'KRW', 1, 1, 1795392000004, 1795392000004),
    (X'01A205B3D00570A580B55EED00000006', 'Gift card', 50000, 'KRW', 1, 1, 1795392000005, 1795392000005);
