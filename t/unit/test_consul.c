
/*
 * opay_consul and opay_peers: what is read from Consul's answers, and what
 * list is in use afterwards.  One broken entry must not take the service with
 * it, an empty answer after trouble must not empty a healthy list, and a
 * clean departure must be believed at once.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../lib/opay_consul.c"
#include "../../lib/opay_peers.c"


#define NODE  "\"Node\":{\"Node\":\"n1\",\"Address\":\"10.0.0.9\"}"

#define ENTRY(id, addr, port, checks)                                        \
    "{" NODE ",\"Service\":{\"ID\":\"" id "\",\"Address\":\"" addr "\","     \
    "\"Port\":" port ",\"Weights\":{\"Passing\":5,\"Warning\":2}},"          \
    "\"Checks\":[{\"CheckID\":\"serfHealth\",\"Status\":\"passing\"}" checks \
    "]}"

#define CHECK(status)  ",{\"CheckID\":\"service:x\",\"Status\":\"" status "\"}"


static void
test_parse(opay_peers_t *list, const char *json)
{
    assert_int_equal(opay_consul_parse_health(list, json, strlen(json)),
                     OPAY_OK);
}


static const opay_peer_t *
test_at(const opay_peers_t *list, const char *text)
{
    char      buf[OPAY_PEER_TEXT];
    unsigned  i;

    for (i = 0; i < list->n; i++) {
        opay_peer_format(&list->peers[i], buf);

        if (strcmp(buf, text) == 0) {
            return &list->peers[i];
        }
    }

    return NULL;
}


static void
parses_states_and_weights(void **state)
{
    opay_peers_t  list;

    (void) state;

    test_parse(&list, "["
               ENTRY("a", "127.0.0.1", "1", CHECK("passing")) ","
               ENTRY("b", "127.0.0.1", "2", CHECK("warning")) ","
               ENTRY("c", "127.0.0.1", "3", CHECK("critical")) ","
               ENTRY("d", "127.0.0.1", "4",
                     ",{\"CheckID\":\"_node_maintenance\","
                     "\"Status\":\"critical\"}") ","
               ENTRY("e", "127.0.0.1", "5", CHECK("critical")
                     ",{\"CheckID\":\"_service_maintenance:e\","
                     "\"Status\":\"critical\"}") ","
               ENTRY("f", "127.0.0.1", "6", CHECK("warning")
                     CHECK("critical") CHECK("warning")) ","
               ENTRY("g", "", "7", "") ","
               ENTRY("h", "2001:db8::1", "8", "")
               "]");

    assert_int_equal(list.n, 8);
    assert_int_equal(list.malformed, 0);

    assert_int_equal(test_at(&list, "127.0.0.1:1")->state, OPAY_PEER_PASSING);
    assert_int_equal(test_at(&list, "127.0.0.1:1")->weight, 5);
    assert_int_equal(test_at(&list, "127.0.0.1:2")->state, OPAY_PEER_WARNING);
    assert_int_equal(test_at(&list, "127.0.0.1:2")->weight, 2);
    assert_int_equal(test_at(&list, "127.0.0.1:3")->state, OPAY_PEER_CRITICAL);
    assert_int_equal(test_at(&list, "127.0.0.1:4")->state, OPAY_PEER_MAINT);
    assert_int_equal(test_at(&list, "127.0.0.1:5")->state, OPAY_PEER_MAINT);
    assert_int_equal(test_at(&list, "127.0.0.1:5")->weight, 0);
    assert_int_equal(test_at(&list, "127.0.0.1:6")->state, OPAY_PEER_CRITICAL);

    /* the node's address stands in; IPv6 is written in brackets */
    assert_non_null(test_at(&list, "10.0.0.9:7"));
    assert_non_null(test_at(&list, "[2001:db8::1]:8"));
}


static void
skips_and_counts_what_is_malformed(void **state)
{
    opay_peers_t  list;

    (void) state;

    test_parse(&list, "["
               "{" NODE "},"                                   /* no Service */
               "{\"Service\":{\"ID\":\"a\",\"Address\":\"1.2.3.4\","
               "\"Port\":1}},"                                 /* no Node */
               "42,null,\"x\",[],"
               ENTRY("b", "not-an-address", "2", "") ","
               ENTRY("c", "1.2.3.4", "0", "") ","
               ENTRY("c", "1.2.3.4", "-1", "") ","
               ENTRY("c", "1.2.3.4", "65536", "") ","
               ENTRY("c", "1.2.3.4", "\"80\"", "") ","
               ENTRY("c", "1.2.3.4", "80.5", "") ","
               ENTRY("d", "1.2.3.4", "81", CHECK("shaky")) ","
               ENTRY("e", "1.2.3.4", "82", ",7") ","
               "{" NODE ",\"Service\":{\"ID\":\"f\",\"Address\":\"1.2.3.4\","
               "\"Port\":83},\"Checks\":{}},"
               ENTRY("good", "1.2.3.4", "84", CHECK("passing"))
               "]");

    assert_int_equal(list.malformed, 15);
    assert_int_equal(list.n, 1);
    assert_non_null(test_at(&list, "1.2.3.4:84"));
}


static void
refuses_what_is_no_list(void **state)
{
    size_t        i;
    opay_peers_t  list;

    static const char  *bad[] = {
        "", "{}", "null", "[", "[{]", "No cluster leader", "[]x",
        "[" ENTRY("a", "1.2.3.4", "1", "")
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        list.n = 1;
        assert_int_equal(opay_consul_parse_health(&list, bad[i],
                                                  strlen(bad[i])),
                         OPAY_ERROR);
        assert_int_equal(list.n, 0);
    }

    test_parse(&list, "[]");
    assert_int_equal(list.n, 0);
}


static void
default_and_odd_weights(void **state)
{
    opay_peers_t  list;

    (void) state;

#define WEIGHTS(port, w)                                                     \
    "{" NODE ",\"Service\":{\"ID\":\"w" port "\",\"Address\":\"1.1.1.1\","   \
    "\"Port\":" port w "}}"

    test_parse(&list, "["
               WEIGHTS("1", "") ","
               WEIGHTS("2", ",\"Weights\":null") ","
               WEIGHTS("3", ",\"Weights\":{\"Passing\":-3}") ","
               WEIGHTS("4", ",\"Weights\":{\"Passing\":\"9\"}") ","
               WEIGHTS("5", ",\"Weights\":{\"Passing\":65535}") ","
               WEIGHTS("6", ",\"Weights\":{\"Passing\":0}") "]");

    assert_int_equal(test_at(&list, "1.1.1.1:1")->weight, 1);
    assert_int_equal(test_at(&list, "1.1.1.1:2")->weight, 1);
    assert_int_equal(test_at(&list, "1.1.1.1:3")->weight, 1);
    assert_int_equal(test_at(&list, "1.1.1.1:4")->weight, 1);
    assert_int_equal(test_at(&list, "1.1.1.1:5")->weight,
                     OPAY_PEER_WEIGHT_MAX);
    assert_int_equal(test_at(&list, "1.1.1.1:6")->weight, 0);
}


static void
one_address_once_and_the_healthier_wins(void **state)
{
    opay_peers_t  list;

    (void) state;

    test_parse(&list, "["
               ENTRY("a", "1.1.1.1", "1", CHECK("critical")) ","
               ENTRY("b", "1.1.1.1", "1", CHECK("passing")) ","
               ENTRY("c", "1.1.1.1", "1", CHECK("warning")) "]");

    assert_int_equal(list.n, 1);
    assert_int_equal(list.peers[0].state, OPAY_PEER_PASSING);
}


static void
order_of_entries_does_not_matter(void **state)
{
    opay_peers_t  use, fresh;

    (void) state;

    test_parse(&use, "[" ENTRY("a", "1.1.1.1", "1", "") ","
                     ENTRY("b", "1.1.1.1", "2", "") "]");
    test_parse(&fresh, "[" ENTRY("b", "1.1.1.1", "2", CHECK("passing")) ","
                       ENTRY("a", "1.1.1.1", "1", "") "]");

    assert_int_equal(opay_peers_merge(&use, &fresh, 1, 1000), 0);
}


static void
too_many_are_counted(void **state)
{
    unsigned      i;
    opay_peer_t   p;
    opay_peers_t  list;

    (void) state;

    memset(&list, 0, sizeof(list));
    memset(&p, 0, sizeof(p));

    for (i = 0; i < OPAY_PEERS_MAX + 3; i++) {
        opay_peer_addr(&p, "9.9.9.9", i + 1);
        (void) opay_peers_add(&list, &p);
    }

    assert_int_equal(list.n, OPAY_PEERS_MAX);
    assert_int_equal(list.dropped, 3);
}


/* n passing instances on ports 1..n */

static void
test_list(opay_peers_t *list, unsigned n)
{
    unsigned     i;
    opay_peer_t  p;

    memset(list, 0, sizeof(opay_peers_t));

    for (i = 1; i <= n; i++) {
        memset(&p, 0, sizeof(p));
        opay_peer_addr(&p, "10.1.1.1", i);
        p.id = i;
        p.weight = 3;
        opay_peers_add(list, &p);
    }
}


static void
a_clean_departure_is_believed(void **state)
{
    opay_peers_t  use, fresh;

    (void) state;

    test_list(&use, 3);
    test_list(&fresh, 1);
    assert_int_equal(opay_peers_merge(&use, &fresh, 1, 1000),
                     OPAY_PEERS_CHANGED);
    assert_int_equal(use.n, 1);
    assert_int_equal(opay_peers_panic(&use), 0);
}


static void
test_empty_answer(int clean)
{
    unsigned      i;
    opay_peers_t  use, fresh;

    test_list(&use, 1);
    test_list(&fresh, 0);

    assert_int_equal(opay_peers_merge(&use, &fresh, clean, 1000),
                     OPAY_PEERS_CHANGED|OPAY_PEERS_HELD);
    assert_int_equal(use.n, 1);
    assert_int_equal(use.peers[0].state, OPAY_PEER_SUSPECT);
    assert_int_equal(opay_peer_weight(&use.peers[0], 0), 1);
    assert_int_equal(opay_peers_next_expiry(&use), 1000 + OPAY_PEERS_GRACE);

    /* asking again does not prolong it, clean or not */
    for (i = 0; i < 2; i++) {
        assert_int_equal(opay_peers_merge(&use, &fresh, i, 20000),
                         OPAY_PEERS_HELD);
    }

    assert_int_equal(opay_peers_expire(&use, 1000 + OPAY_PEERS_GRACE - 1),
                     OPAY_PEERS_KEPT);
    assert_int_equal(opay_peers_expire(&use, 1000 + OPAY_PEERS_GRACE),
                     OPAY_PEERS_CHANGED);
    assert_int_equal(use.n, 0);
    assert_int_equal(opay_peers_next_expiry(&use), 0);
}


static void
an_empty_answer_is_held_for_a_while(void **state)
{
    (void) state;

    test_empty_answer(0);
    test_empty_answer(1);
}


static void
an_instance_under_maintenance_is_not_held(void **state)
{
    opay_peers_t  use, fresh;

    (void) state;

    test_list(&use, 1);
    use.peers[0].state = OPAY_PEER_MAINT;
    test_list(&fresh, 0);

    assert_int_equal(opay_peers_merge(&use, &fresh, 1, 1000),
                     OPAY_PEERS_CHANGED);
    assert_int_equal(use.n, 0);
}


static void
most_of_a_service_does_not_vanish_at_once(void **state)
{
    opay_peers_t  use, fresh;

    (void) state;

    test_list(&use, 3);
    test_list(&fresh, 1);

    assert_int_equal(opay_peers_merge(&use, &fresh, 0, 1000),
                     OPAY_PEERS_CHANGED|OPAY_PEERS_KEPT);
    assert_int_equal(use.n, 3);
    assert_int_equal(use.peers[0].state, OPAY_PEER_PASSING);
    assert_int_equal(use.peers[2].state, OPAY_PEER_SUSPECT);

    /* they come back and are themselves again */
    test_list(&fresh, 3);
    assert_int_equal(opay_peers_merge(&use, &fresh, 1, 2000),
                     OPAY_PEERS_CHANGED);
    assert_int_equal(use.peers[2].state, OPAY_PEER_PASSING);
    assert_int_equal(use.peers[2].weight, 3);

    /* one of three may well have gone */
    test_list(&fresh, 2);
    assert_int_equal(opay_peers_merge(&use, &fresh, 0, 3000),
                     OPAY_PEERS_CHANGED);
    assert_int_equal(use.n, 2);
}


static void
an_unreadable_entry_keeps_its_instance(void **state)
{
    opay_peers_t  use, fresh;

    (void) state;

    test_list(&use, 3);
    test_list(&fresh, 2);
    fresh.malformed = 1;

    assert_int_equal(opay_peers_merge(&use, &fresh, 1, 1000),
                     OPAY_PEERS_CHANGED|OPAY_PEERS_KEPT);
    assert_int_equal(use.n, 3);
}


static void
a_suspect_gives_way_to_news_of_its_address(void **state)
{
    opay_peers_t  use, fresh;

    (void) state;

    test_list(&use, 1);
    test_list(&fresh, 0);
    opay_peers_merge(&use, &fresh, 0, 1000);

    /* registered anew under another id, not ready yet */
    test_list(&fresh, 1);
    fresh.peers[0].id = 77;
    fresh.peers[0].state = OPAY_PEER_CRITICAL;

    assert_int_equal(opay_peers_merge(&use, &fresh, 1, 2000),
                     OPAY_PEERS_CHANGED|OPAY_PEERS_PANIC);
    assert_int_equal(use.n, 1);
    assert_int_equal(use.peers[0].id, 77);
}


static void
all_critical_is_panic_and_maintenance_is_not(void **state)
{
    opay_peers_t  use;

    (void) state;

    test_list(&use, 2);
    use.peers[0].state = OPAY_PEER_CRITICAL;
    assert_false(opay_peers_panic(&use));
    assert_int_equal(opay_peer_weight(&use.peers[0], 0), 0);

    use.peers[1].state = OPAY_PEER_CRITICAL;
    assert_true(opay_peers_panic(&use));
    assert_int_equal(opay_peer_weight(&use.peers[0], 1), 1);

    use.peers[0].state = OPAY_PEER_MAINT;
    assert_true(opay_peers_panic(&use));
    assert_int_equal(opay_peer_weight(&use.peers[0], 1), 0);

    use.peers[1].state = OPAY_PEER_MAINT;
    assert_false(opay_peers_panic(&use));
}


static void
index_rules(void **state)
{
    (void) state;

    assert_int_equal(opay_consul_next_index(0, "17", 2), 17);
    assert_int_equal(opay_consul_next_index(17, "17", 2), 17);
    assert_int_equal(opay_consul_next_index(17, "18", 2), 18);
    assert_int_equal(opay_consul_next_index(17, "16", 2), 0);
    assert_int_equal(opay_consul_next_index(17, NULL, 0), 1);
    assert_int_equal(opay_consul_next_index(17, "0", 1), 1);
    assert_int_equal(opay_consul_next_index(17, "", 0), 1);
    assert_int_equal(opay_consul_next_index(17, "1x", 2), 1);
    assert_int_equal(opay_consul_next_index(0, "99999999999999999999999", 23),
                     1);
}


static void
register_body(void **state)
{
    char                   *text;
    json_t                 *root, *check;
    opay_consul_service_t   s;

    (void) state;

    s.id = "order-h\"1-8083";
    s.name = "order";
    s.address = "127.0.0.1";
    s.port = 8083;
    s.check = "http://127.0.0.1:9183/readyz";
    s.interval = 2000;

    text = opay_consul_register_json(&s);
    assert_non_null(text);

    root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);

    assert_string_equal(opay_consul_string(root, "ID"), s.id);
    assert_string_equal(opay_consul_string(root, "Name"), "order");
    assert_int_equal(json_integer_value(json_object_get(root, "Port")), 8083);

    check = json_array_get(json_object_get(root, "Checks"), 0);
    assert_string_equal(opay_consul_string(check, "HTTP"), s.check);
    assert_string_equal(opay_consul_string(check, "Interval"), "2000ms");
    assert_string_equal(opay_consul_string(check,
                                           "DeregisterCriticalServiceAfter"),
                        "10m");

    json_decref(root);
    free(text);

    s.name = "\xff";
    assert_null(opay_consul_register_json(&s));
}


static void
disk_form_round_trip(void **state)
{
    char          buf[OPAY_PEERS_TEXT_MAX];
    size_t        n, i;
    int64_t       when;
    opay_peer_t   p;
    opay_peers_t  list, back;

    (void) state;

    test_list(&list, 2);
    list.peers[0].state = OPAY_PEER_SUSPECT;
    list.peers[0].until = 99;
    memset(&p, 0, sizeof(p));
    opay_peer_addr(&p, "2001:db8::7", 443);
    p.id = UINT64_MAX;
    p.state = OPAY_PEER_CRITICAL;
    opay_peers_add(&list, &p);

    n = opay_peers_save(&list, 1790000000123, buf, sizeof(buf));
    assert_true(n > 0);

    assert_int_equal(opay_peers_load(&back, &when, buf, n), OPAY_OK);
    assert_int_equal(when, 1790000000123);
    assert_int_equal(back.n, 3);
    assert_int_equal(back.peers[0].state, OPAY_PEER_PASSING);
    assert_int_equal(back.peers[0].until, 0);
    assert_memory_equal(&back.peers[1], &list.peers[1], 2 * sizeof(p));

    /* cut anywhere, or with any byte changed, it is refused */
    for (i = 0; i < n; i++) {
        assert_int_equal(opay_peers_load(&back, &when, buf, i), OPAY_ERROR);

        buf[i] ^= 1;
        assert_int_equal(opay_peers_load(&back, &when, buf, n), OPAY_ERROR);
        assert_int_equal(back.n, 0);
        buf[i] ^= 1;
    }

    /* a full table of the longest texts fits */
    memset(&list, 0, sizeof(list));

    for (i = 0; i < OPAY_PEERS_MAX; i++) {
        opay_peer_addr(&p, "2001:db8:1111:1111:1111:1111:1111:1111",
                       65535 - i);
        p.weight = OPAY_PEER_WEIGHT_MAX;
        opay_peers_add(&list, &p);
    }

    n = opay_peers_save(&list, INT64_MAX, buf, sizeof(buf));
    assert_true(n > 0);
    assert_int_equal(opay_peers_load(&back, &when, buf, n), OPAY_OK);
    assert_int_equal(back.n, OPAY_PEERS_MAX);

    for (i = 0; i < 200; i++) {
        assert_int_equal(opay_peers_save(&list, 0, buf, i), 0);
    }
}


static void
peer_text(void **state)
{
    char         buf[OPAY_PEER_TEXT];
    size_t       i;
    opay_peer_t  p;

    static const char  *good[] = {
        "127.0.0.1:1", "255.255.255.255:65535", "[::1]:80",
        "[2001:db8::1]:443"
    };

    static const char  *bad[] = {
        "", ":", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0",
        "127.0.0.1:65536", "127.0.0.1:8x", "127.0.0.1:-1", "127.0.0.1: 8",
        "localhost:80", "::1:80", "[::1:80", "::1]:80", "[127.0.0.1:80",
        "127.0.0.1:123456", "1.2.3:80"
    };

    (void) state;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(opay_peer_parse(&p, good[i], strlen(good[i])),
                         OPAY_OK);
        assert_int_equal(opay_peer_format(&p, buf), strlen(good[i]));
        assert_string_equal(buf, good[i]);
        assert_int_equal(p.weight, 1);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (opay_peer_parse(&p, bad[i], strlen(bad[i])) != OPAY_ERROR) {
            fail_msg("\"%s\" was accepted", bad[i]);
        }
    }

    assert_string_equal(opay_peer_state_name(OPAY_PEER_SUSPECT), "suspect");
    assert_string_equal(opay_peer_state_name(99), "unknown");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(parses_states_and_weights),
        cmocka_unit_test(skips_and_counts_what_is_malformed),
        cmocka_unit_test(refuses_what_is_no_list),
        cmocka_unit_test(default_and_odd_weights),
        cmocka_unit_test(one_address_once_and_the_healthier_wins),
        cmocka_unit_test(order_of_entries_does_not_matter),
        cmocka_unit_test(too_many_are_counted),
        cmocka_unit_test(a_clean_departure_is_believed),
        cmocka_unit_test(an_empty_answer_is_held_for_a_while),
        cmocka_unit_test(an_instance_under_maintenance_is_not_held),
        cmocka_unit_test(most_of_a_service_does_not_vanish_at_once),
        cmocka_unit_test(an_unreadable_entry_keeps_its_instance),
        cmocka_unit_test(a_suspect_gives_way_to_news_of_its_address),
        cmocka_unit_test(all_critical_is_panic_and_maintenance_is_not),
        cmocka_unit_test(index_rules),
        cmocka_unit_test(register_body),
        cmocka_unit_test(disk_form_round_trip),
        cmocka_unit_test(peer_text)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
