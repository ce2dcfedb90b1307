
/*
 * opay_sub_post: one request to the service's /internal/events.
 *
 * DESIGN
 *
 * One libcurl handle, one connection kept alive, HTTP/1.1 over mTLS.  The
 * URL names <service>.opay.internal, which is what the certificate is
 * verified against; CONNECT_TO leads to the instance.  The call blocks for
 * deliver_timeout at most, far below max.poll.interval.ms.
 */

#include <stdio.h>
#include <stdlib.h>
#include <jansson.h>

#include "opay_sub.h"


#define OPAY_POST_ANSWER   (1024 * 1024)
#define OPAY_POST_STOP     5000            /* ms left when stopping */
#define OPAY_POST_REASON   200


typedef struct {
    char    *data;
    size_t   len;
    int64_t  stop_at;
} opay_answer_t;


int
opay_sub_post_create(opay_sub_t *sub)
{
    sub->curl = curl_easy_init();
    if (sub->curl == NULL) {
        return OPAY_ERROR;
    }

    sub->headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (sub->headers == NULL || !curl_slist_append(sub->headers, "Expect:")) {
        return OPAY_ERROR;
    }

    return OPAY_OK;
}


void
opay_sub_post_destroy(opay_sub_t *sub)
{
    curl_slist_free_all(sub->headers);
    curl_easy_cleanup(sub->curl);
}


static size_t
opay_post_body(char *p, size_t one, size_t n, void *data)
{
    char           *grown;
    opay_answer_t  *answer;

    (void) one;
    answer = data;

    if (answer->len + n > OPAY_POST_ANSWER) {
        return 0;
    }

    grown = realloc(answer->data, answer->len + n);
    if (grown == NULL) {
        return 0;
    }

    memcpy(grown + answer->len, p, n);
    answer->data = grown;
    answer->len += n;

    return n;
}


/* When the process is to stop, an answer may still come, but not for long. */
static int
opay_post_progress(void *data, curl_off_t dt, curl_off_t dn, curl_off_t ut,
    curl_off_t un)
{
    opay_answer_t  *answer;

    (void) dt;
    (void) dn;
    (void) ut;
    (void) un;

    answer = data;

    if (!opay_sidecar_stopping()) {
        return 0;
    }

    if (answer->stop_at == 0) {
        answer->stop_at = opay_mono_ms() + OPAY_POST_STOP;
    }

    return opay_mono_ms() > answer->stop_at;
}


static void
opay_post_options(opay_sub_t *sub, const char *url, opay_str_t body,
    opay_answer_t *answer)
{
    CURL                       *c;
    const opay_sidecar_conf_t  *conf;

    c = sub->curl;
    conf = sub->conf;

    curl_easy_reset(c);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROXY, "");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, 2000L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long) conf->deliver_timeout);
    curl_easy_setopt(c, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(c, CURLOPT_CAINFO, conf->tls_ca);
    curl_easy_setopt(c, CURLOPT_SSLCERT, conf->tls_cert);
    curl_easy_setopt(c, CURLOPT_SSLKEY, conf->tls_key);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, sub->headers);
    curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) body.len);
    curl_easy_setopt(c, CURLOPT_POSTFIELDS, body.data);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, opay_post_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, opay_post_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, answer);
}


/* OPAY_POST_OK: an answer with status 200 is there */
static opay_post_e
opay_post_send(opay_sub_t *sub, opay_str_t body, opay_answer_t *answer)
{
    long                status;
    char                url[160], to[96], name[64];
    CURLcode            rc;
    const char         *port;
    struct curl_slist  *connect;

    if (opay_target_pick(sub->target, sub->peer_failed, sub->peer,
                         sizeof(sub->peer)) != OPAY_OK)
    {
        opay_log(OPAY_LOG_INFO, "subscriber: no instance of %s is known",
                 sub->conf->service);
        return OPAY_POST_TRANSPORT;
    }

    (void) snprintf(name, sizeof(name), "%s.opay.internal",
                    sub->conf->service);
    port = strrchr(sub->peer, ':');
    (void) snprintf(url, sizeof(url), "https://%s%s/internal/events", name,
                    port);
    (void) snprintf(to, sizeof(to), "::%s", sub->peer);

    connect = curl_slist_append(NULL, to);
    if (connect == NULL) {
        return OPAY_POST_TRANSPORT;
    }

    opay_post_options(sub, url, body, answer);
    curl_easy_setopt(sub->curl, CURLOPT_CONNECT_TO, connect);

    rc = curl_easy_perform(sub->curl);
    curl_slist_free_all(connect);
    sub->peer_failed = rc != CURLE_OK;

    if (rc != CURLE_OK) {
        opay_log(OPAY_LOG_WARN, "subscriber: %s at %s: %s",
                 sub->conf->service, sub->peer, curl_easy_strerror(rc));
        return OPAY_POST_TRANSPORT;
    }

    curl_easy_getinfo(sub->curl, CURLINFO_RESPONSE_CODE, &status);

    if (status == 200) {
        return OPAY_POST_OK;
    }

    opay_log(OPAY_LOG_WARN, "subscriber: %s at %s answered %ld",
             sub->conf->service, sub->peer, status);

    /* it is about the body: smaller ones will show which event it is */
    if (status == 400 || status == 413 || status == 415 || status == 422) {
        return OPAY_POST_REFUSED;
    }

    sub->peer_failed = 1;

    return OPAY_POST_STATUS;
}


static int
opay_post_outcome(const char *s)
{
    int                       i;
    static const char *const  names[] = { "applied", "duplicate", "gap",
                                          "rejected" };

    for (i = 0; s && i < 4; i++) {
        if (strcmp(s, names[i]) == 0) {
            return i;
        }
    }

    return -1;
}


/* results[i] is about the i-th open item, or all is nonsense. */
static opay_post_e
opay_post_results(opay_arena_t *a, opay_sub_item_t **open, size_t n,
    json_t *root)
{
    int         *outcomes;
    size_t       i;
    json_t      *results, *r;
    const char  *id, *reason;

    results = json_object_get(root, "results");
    outcomes = opay_arena_alloc(a, n * sizeof(int));

    if (outcomes == NULL || !json_is_array(results)
        || json_array_size(results) != n)
    {
        return OPAY_POST_NONSENSE;
    }

    for (i = 0; i < n; i++) {
        r = json_array_get(results, i);
        id = json_string_value(json_object_get(r, "id"));
        outcomes[i] = opay_post_outcome(
                          json_string_value(json_object_get(r, "outcome")));

        if (id == NULL || !opay_str_is(open[i]->id, id) || outcomes[i] < 0) {
            return OPAY_POST_NONSENSE;
        }
    }

    for (i = 0; i < n; i++) {
        reason = json_string_value(json_object_get(
                     json_array_get(results, i), "reason"));

        open[i]->outcome = outcomes[i];
        open[i]->reason = opay_arena_printf(a, "%.*s", OPAY_POST_REASON,
                              reason ? reason
                                     : outcomes[i] == OPAY_DELIVERY_GAP
                                       ? "an earlier version is missing"
                                       : "refused by the service").data;
    }

    return OPAY_POST_OK;
}


static opay_str_t
opay_post_render(opay_arena_t *a, opay_sub_item_t **open, size_t n)
{
    char        *p;
    size_t       i, len;
    opay_str_t   s;
    static const char  head[] = "{\"events\":[";

    s.len = 0;
    len = sizeof(head) + n + 2;

    for (i = 0; i < n; i++) {
        len += open[i]->envelope.len;
    }

    s.data = p = opay_arena_alloc(a, len);
    if (p == NULL) {
        return s;
    }

    p = mempcpy(p, head, sizeof(head) - 1);

    for (i = 0; i < n; i++) {
        if (i) {
            *p++ = ',';
        }

        p = mempcpy(p, open[i]->envelope.data, open[i]->envelope.len);
    }

    p = mempcpy(p, "]}", 2);
    s.len = (size_t) (p - s.data);

    return s;
}


opay_post_e
opay_sub_post(opay_sub_t *sub, opay_arena_t *a, opay_sub_item_t *items,
    size_t n)
{
    size_t             i, k;
    json_t            *root;
    int64_t            start;
    opay_str_t         body;
    opay_post_e        rc;
    opay_answer_t      answer;
    opay_sub_item_t  **open;

    open = opay_arena_alloc(a, (n + 1) * sizeof(opay_sub_item_t *));
    if (open == NULL) {
        return OPAY_POST_TRANSPORT;
    }

    k = 0;

    for (i = 0; i < n; i++) {
        if (items[i].outcome == -1) {
            open[k++] = &items[i];
        }
    }

    if (k == 0) {
        return OPAY_POST_OK;
    }

    body = opay_post_render(a, open, k);
    if (body.data == NULL) {
        return OPAY_POST_TRANSPORT;
    }

    memset(&answer, 0, sizeof(answer));
    start = opay_mono_ms();
    rc = opay_post_send(sub, body, &answer);

    if (rc == OPAY_POST_OK) {
        root = json_loadb(answer.data ? answer.data : "", answer.len, 0,
                          NULL);
        rc = opay_post_results(a, open, k, root);
        json_decref(root);

        if (rc != OPAY_POST_OK) {
            opay_log(OPAY_LOG_ERROR, "subscriber: %s at %s: the answer does "
                     "not fit the request", sub->conf->service, sub->peer);
            sub->peer_failed = 1;
        }
    }

    free(answer.data);
    opay_hist_add(&sub->state->post_time, opay_mono_ms() - start);
    atomic_fetch_add(&sub->state->posts[rc], 1);

    return rc;
}
