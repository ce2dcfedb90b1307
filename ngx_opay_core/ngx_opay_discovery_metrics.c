
/* Discovery in Prometheus text; reads shared memory only. */

#include "ngx_opay_discovery.h"


static u_char *ngx_opay_discovery_print_consul(u_char *p, u_char *last,
    ngx_opay_discovery_conf_t *dcf);
static u_char *ngx_opay_discovery_print_peers(u_char *p, u_char *last,
    ngx_opay_discovery_conf_t *dcf);
static u_char *ngx_opay_discovery_print_rows(u_char *p, u_char *last,
    ngx_opay_discovery_conf_t *dcf);


u_char *
ngx_opay_discovery_metrics(u_char *p, u_char *last)
{
    ngx_opay_discovery_conf_t  *dcf;

    dcf = ngx_opay_discovery_conf((ngx_cycle_t *) ngx_cycle);

    if (dcf == NULL || dcf->sh == NULL) {
        return p;
    }

    if (dcf->consul.len) {
        p = ngx_opay_discovery_print_consul(p, last, dcf);
    }

    if (dcf->services.nelts) {
        p = ngx_opay_discovery_print_peers(p, last, dcf);
        p = ngx_opay_discovery_print_rows(p, last, dcf);
    }

    return p;
}


static u_char *
ngx_opay_discovery_print_consul(u_char *p, u_char *last,
    ngx_opay_discovery_conf_t *dcf)
{
    ngx_uint_t            i;
    ngx_opay_register_t  *reg;

    p = ngx_slprintf(p, last,
                     "# HELP opay_consul_up Consul's last answer was good.\n"
                     "# TYPE opay_consul_up gauge\n"
                     "opay_consul_up %ui\n"
                     "# HELP opay_consul_errors_total Answers that were not "
                     "good, or none.\n"
                     "# TYPE opay_consul_errors_total counter\n"
                     "opay_consul_errors_total %ui\n",
                     dcf->sh->up, dcf->sh->errors);

    reg = dcf->registers.elts;

    for (i = 0; i < dcf->registers.nelts; i++) {

        if (i == 0) {
            p = ngx_slprintf(p, last,
                             "# HELP opay_consul_registered This instance is "
                             "in Consul's books.\n"
                             "# TYPE opay_consul_registered gauge\n");
        }

        p = ngx_slprintf(p, last, "opay_consul_registered{id=\"%V\"} %ui\n",
                         &reg[i].id, dcf->sh->registers[i].registered);
    }

    return p;
}


static u_char *
ngx_opay_discovery_print_peers(u_char *p, u_char *last,
    ngx_opay_discovery_conf_t *dcf)
{
    ngx_uint_t                i, k, n, source;
    opay_peers_t              list;
    ngx_opay_peers_conf_t   **s;

    static const char  *sources[] = { "none", "fallback", "disk", "consul" };

    p = ngx_slprintf(p, last,
                     "# HELP opay_peers Known instances.\n"
                     "# TYPE opay_peers gauge\n");

    s = dcf->services.elts;

    for (i = 0; i < dcf->services.nelts; i++) {

        (void) ngx_opay_peers_get(s[i], &list);

        for (k = 0; k < OPAY_PEER_STATES; k++) {

            n = 0;

            for (source = 0; source < list.n; source++) {
                n += (list.peers[source].state == k);
            }

            p = ngx_slprintf(p, last, "opay_peers{service=\"%V\",state=\"%s\""
                             "} %ui\n", &s[i]->name,
                             opay_peer_state_name(k), n);
        }
    }

    p = ngx_slprintf(p, last,
                     "# HELP opay_peers_source Where the list in use comes "
                     "from.\n"
                     "# TYPE opay_peers_source gauge\n");

    for (i = 0; i < dcf->services.nelts; i++) {

        source = s[i]->sh->source;

        for (k = 0; k < 4; k++) {
            p = ngx_slprintf(p, last, "opay_peers_source{service=\"%V\","
                             "source=\"%s\"} %ui\n", &s[i]->name, sources[k],
                             (ngx_uint_t) (source == k));
        }
    }

    return p;
}


static u_char *
ngx_opay_discovery_print_rows(u_char *p, u_char *last,
    ngx_opay_discovery_conf_t *dcf)
{
    int64_t                     now, age;
    ngx_uint_t                  i, k, value;
    ngx_opay_peers_conf_t     **s;
    ngx_opay_peers_service_t   *row;

    static const char  *names[] = {
        "opay_peers_panic", "Nothing is healthy: every instance is used.",
        "gauge",
        "opay_peers_kept", "Instances that vanished without notice are used.",
        "gauge",
        "opay_peers_changes_total", "Lists that replaced another.", "counter",
        "opay_peers_malformed_total", "Entries that could not be used.",
        "counter"
    };

    s = dcf->services.elts;
    now = opay_now_ms();

    for (k = 0; k < 4; k++) {

        p = ngx_slprintf(p, last, "# HELP %s %s\n# TYPE %s %s\n",
                         names[3 * k], names[3 * k + 1], names[3 * k],
                         names[3 * k + 2]);

        for (i = 0; i < dcf->services.nelts; i++) {

            row = s[i]->sh;
            value = (k == 0) ? (row->flags & OPAY_PEERS_PANIC) != 0
                    : (k == 1) ? (row->flags
                                  & (OPAY_PEERS_HELD|OPAY_PEERS_KEPT)) != 0
                    : (k == 2) ? row->changes : row->malformed;

            p = ngx_slprintf(p, last, "%s{service=\"%V\"} %ui\n",
                             names[3 * k], &s[i]->name, value);
        }
    }

    p = ngx_slprintf(p, last,
                     "# HELP opay_consul_age_seconds Time since Consul spoke "
                     "of the service; a watch is silent for up to a minute.\n"
                     "# TYPE opay_consul_age_seconds gauge\n");

    for (i = 0; i < dcf->services.nelts; i++) {

        if (s[i]->sh->heard == 0) {
            continue;
        }

        age = ngx_max(0, now - s[i]->sh->heard);

        p = ngx_slprintf(p, last, "opay_consul_age_seconds{service=\"%V\"} "
                         "%L.%03L\n", &s[i]->name, age / 1000, age % 1000);
    }

    return p;
}
