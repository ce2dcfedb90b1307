
/*
 * opay_sub_target: where the service's instances are.
 *
 * DESIGN
 *
 * A thread of its own asks Consul with blocking queries and keeps the list;
 * the subscriber picks from it under the mutex.  The rules of replacing a
 * list are lib's (opay_peers.h): a Consul that dies or forgets never leaves
 * us with less than the last good list.  "target" of the configuration is
 * used as long as no list has been seen.
 */

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <curl/curl.h>

#include "opay_consul.h"
#include "opay_sidecar.h"


#define OPAY_TARGET_BODY   (4 * 1024 * 1024)
#define OPAY_TARGET_WAIT   55              /* s, of a blocking query */
#define OPAY_TARGET_PAUSE  100             /* ms between two, under churn */


struct opay_target_s {
    const opay_sidecar_conf_t  *conf;
    opay_sidecar_state_t       *state;

    pthread_mutex_t             mutex;     /* of the list */
    opay_peers_t                list;

    /* of the thread */
    CURL                       *curl;
    char                       *body;
    size_t                      len;
    size_t                      size;
    char                        index_text[32];
    uint64_t                    index;
    int                         unclean;   /* no leader, or ACLs filtered */
    unsigned                    failures;
};


struct opay_target_s *
opay_target_create(const opay_sidecar_conf_t *conf, opay_sidecar_state_t *st)
{
    struct opay_target_s  *t;

    t = calloc(1, sizeof(struct opay_target_s));
    if (t == NULL) {
        return NULL;
    }

    t->conf = conf;
    t->state = st;
    (void) pthread_mutex_init(&t->mutex, NULL);

    return t;
}


void
opay_target_destroy(struct opay_target_s *t)
{
    (void) pthread_mutex_destroy(&t->mutex);
    free(t->body);
    free(t);
}


/* Index of a peer: the one in use, else a random one.  -1: none. */
static int
opay_target_choose(const opay_peers_t *list, int failed, const char *used)
{
    int        panic;
    char       text[OPAY_PEER_TEXT];
    uint32_t   r, total, w;
    unsigned   i;

    panic = opay_peers_panic(list);
    total = 0;

    for (i = 0; i < list->n; i++) {
        w = opay_peer_weight(&list->peers[i], panic);
        (void) opay_peer_format(&list->peers[i], text);

        if (w && strcmp(text, used) == 0) {
            if (!failed) {
                return (int) i;
            }

            /* only when there is no other */
            continue;
        }

        total += w;
    }

    if (opay_random(&r, sizeof(r)) != OPAY_OK) {
        r = 0;
    }

    for (i = 0; i < list->n; i++) {
        w = opay_peer_weight(&list->peers[i], panic);
        (void) opay_peer_format(&list->peers[i], text);

        if (w == 0 || (total && strcmp(text, used) == 0)) {
            continue;
        }

        if (total == 0 || r % total < w) {
            return (int) i;
        }

        r = r % total - w;
        total -= w;
    }

    return -1;
}


int
opay_target_pick(struct opay_target_s *t, int failed, char *buf, size_t size)
{
    int   i;
    char  text[OPAY_PEER_TEXT];

    (void) pthread_mutex_lock(&t->mutex);

    i = opay_target_choose(&t->list, failed, buf);

    if (i >= 0) {
        (void) opay_peer_format(&t->list.peers[i], text);
    }

    (void) pthread_mutex_unlock(&t->mutex);

    if (i >= 0) {
        (void) snprintf(buf, size, "%s", text);
        return OPAY_OK;
    }

    if (t->conf->target) {
        (void) snprintf(buf, size, "%s", t->conf->target);
        return OPAY_OK;
    }

    buf[0] = '\0';

    return OPAY_ERROR;
}


static size_t
opay_target_body(char *p, size_t one, size_t n, void *data)
{
    char                  *body;
    size_t                 size;
    struct opay_target_s  *t;

    (void) one;
    t = data;

    if (t->len + n > OPAY_TARGET_BODY) {
        return 0;
    }

    if (t->len + n > t->size) {
        size = (t->len + n) * 2;

        body = realloc(t->body, size);
        if (body == NULL) {
            return 0;
        }

        t->body = body;
        t->size = size;
    }

    memcpy(t->body + t->len, p, n);
    t->len += n;

    return n;
}


static int
opay_target_is(const char *p, size_t n, const char *name, const char **value,
    size_t *len)
{
    size_t  k;

    k = strlen(name);

    if (n <= k || strncasecmp(p, name, k) != 0) {
        return 0;
    }

    p += k;
    n -= k;

    while (n && (*p == ' ' || *p == '\t')) {
        p++;
        n--;
    }

    while (n && (p[n - 1] == '\r' || p[n - 1] == '\n' || p[n - 1] == ' ')) {
        n--;
    }

    *value = p;
    *len = n;

    return 1;
}


static size_t
opay_target_header(char *p, size_t one, size_t n, void *data)
{
    size_t                 len;
    const char            *v;
    struct opay_target_s  *t;

    (void) one;
    t = data;

    if (opay_target_is(p, n, "X-Consul-Index:", &v, &len)
        && len < sizeof(t->index_text))
    {
        memcpy(t->index_text, v, len);
        t->index_text[len] = '\0';

    } else if (opay_target_is(p, n, "X-Consul-KnownLeader:", &v, &len)) {
        t->unclean |= !(len == 4 && strncasecmp(v, "true", 4) == 0);

    } else if (opay_target_is(p, n, "X-Consul-Results-Filtered-By-ACLs:", &v,
                              &len))
    {
        t->unclean |= len == 4 && strncasecmp(v, "true", 4) == 0;
    }

    return n;
}


/* called about once a second while nothing comes */
static int
opay_target_progress(void *data, curl_off_t dt, curl_off_t dn, curl_off_t ut,
    curl_off_t un)
{
    (void) data;
    (void) dt;
    (void) dn;
    (void) ut;
    (void) un;

    return opay_sidecar_stopping();
}


static struct curl_slist *
opay_target_token(struct opay_target_s *t)
{
    FILE               *f;
    char                token[256], header[300];
    struct curl_slist  *list;

    if (t->conf->consul_token_file == NULL) {
        return NULL;
    }

    /* read each time: tokens are rotated */
    f = fopen(t->conf->consul_token_file, "re");
    if (f == NULL) {
        return NULL;
    }

    list = NULL;

    if (fgets(token, sizeof(token), f)) {
        token[strcspn(token, "\r\n")] = '\0';
        (void) snprintf(header, sizeof(header), "X-Consul-Token: %s", token);
        list = curl_slist_append(NULL, header);
    }

    (void) fclose(f);

    return list;
}


/* One blocking query; OPAY_ERROR: no usable answer */
static int
opay_target_query(struct opay_target_s *t)
{
    long                status;
    char                url[512];
    CURLcode            rc;
    struct curl_slist  *token;

    (void) snprintf(url, sizeof(url),
                    "%s/v1/health/service/%s?stale&index=%llu&wait=%ds",
                    t->conf->consul_url, t->conf->service,
                    (unsigned long long) t->index, OPAY_TARGET_WAIT);

    t->len = 0;
    t->unclean = 0;
    t->index_text[0] = '\0';
    token = opay_target_token(t);

    curl_easy_reset(t->curl);
    curl_easy_setopt(t->curl, CURLOPT_URL, url);
    curl_easy_setopt(t->curl, CURLOPT_PROXY, "");
    curl_easy_setopt(t->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(t->curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(t->curl, CURLOPT_CONNECTTIMEOUT_MS, 1000L);
    curl_easy_setopt(t->curl, CURLOPT_TIMEOUT, OPAY_TARGET_WAIT * 17L / 16
                                               + 5L);
    curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, token);
    curl_easy_setopt(t->curl, CURLOPT_WRITEFUNCTION, opay_target_body);
    curl_easy_setopt(t->curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(t->curl, CURLOPT_HEADERFUNCTION, opay_target_header);
    curl_easy_setopt(t->curl, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(t->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(t->curl, CURLOPT_XFERINFOFUNCTION,
                     opay_target_progress);

    rc = curl_easy_perform(t->curl);
    curl_slist_free_all(token);

    if (rc != CURLE_OK) {
        opay_log(OPAY_LOG_INFO, "target: consul: %s",
                 curl_easy_strerror(rc));
        return OPAY_ERROR;
    }

    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);

    if (status != 200) {
        opay_log(OPAY_LOG_INFO, "target: consul answered %ld", status);
        return OPAY_ERROR;
    }

    return OPAY_OK;
}


static int
opay_target_update(struct opay_target_s *t)
{
    int           clean;
    uint64_t      next;
    unsigned      bits, n;
    opay_peers_t  fresh;

    memset(&fresh, 0, sizeof(fresh));

    if (opay_consul_parse_health(&fresh, t->body ? t->body : "", t->len)
        != OPAY_OK)
    {
        opay_log(OPAY_LOG_WARN, "target: consul's answer cannot be read");
        return OPAY_ERROR;
    }

    next = opay_consul_next_index(t->index, t->index_text[0] ? t->index_text
                                                             : NULL,
                                  strlen(t->index_text));
    clean = !t->unclean && t->index && next >= t->index;
    t->index = next;

    (void) pthread_mutex_lock(&t->mutex);
    bits = opay_peers_merge(&t->list, &fresh, clean, opay_mono_ms());
    n = t->list.n;
    (void) pthread_mutex_unlock(&t->mutex);

    atomic_store(&t->state->peers, n);

    if (bits & OPAY_PEERS_CHANGED) {
        opay_log(OPAY_LOG_NOTICE, "target: %u instances of %s", n,
                 t->conf->service);
    }

    return OPAY_OK;
}


static void
opay_target_expire(struct opay_target_s *t)
{
    unsigned  n;

    (void) pthread_mutex_lock(&t->mutex);
    (void) opay_peers_expire(&t->list, opay_mono_ms());
    n = t->list.n;
    (void) pthread_mutex_unlock(&t->mutex);

    atomic_store(&t->state->peers, n);
}


static void
opay_target_sleep(int64_t ms)
{
    struct pollfd  fd;

    fd.fd = opay_sidecar_stop_fd();
    fd.events = POLLIN;
    (void) poll(&fd, 1, (int) ms);
}


void *
opay_target_run(void *data)
{
    struct opay_target_s  *t;

    t = data;

    if (t->conf->consul_url == NULL) {
        return NULL;
    }

    t->curl = curl_easy_init();
    if (t->curl == NULL) {
        opay_log(OPAY_LOG_ALERT, "target: out of memory");
        return NULL;
    }

    while (!opay_sidecar_stopping()) {
        opay_target_expire(t);

        if (opay_target_query(t) == OPAY_OK
            && opay_target_update(t) == OPAY_OK)
        {
            t->failures = 0;
            atomic_store(&t->state->consul_up, 1);
            opay_target_sleep(OPAY_TARGET_PAUSE);
            continue;
        }

        if (opay_sidecar_stopping()) {
            break;
        }

        if (atomic_exchange(&t->state->consul_up, 0)) {
            opay_log(OPAY_LOG_WARN, "target: consul does not answer: the "
                     "last list stays in use");
        }

        t->index = 0;
        opay_target_sleep(opay_sidecar_backoff(250, 10000, t->failures++));
    }

    curl_easy_cleanup(t->curl);

    return NULL;
}
