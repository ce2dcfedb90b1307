
/* One HTTP transfer from its struct to its outcome: see ngx_opay_curl.c. */

#include "ngx_opay_curl.h"

#include <openssl/err.h>


#define NGX_OPAY_HTTP_GUARD  2000      /* ms beyond the transfer's own limit */


static ngx_int_t ngx_opay_http_setup(ngx_opay_transfer_t *t);
static ngx_int_t ngx_opay_http_headers(ngx_opay_transfer_t *t);
static ngx_uint_t ngx_opay_http_is_safe(const char *method);
static void ngx_opay_http_guard(ngx_event_t *ev);
static size_t ngx_opay_curl_write(char *p, size_t size, size_t n, void *data);
static size_t ngx_opay_curl_header(char *p, size_t size, size_t n, void *data);


ngx_int_t
ngx_opay_http_send(ngx_opay_http_t *h)
{
    ngx_opay_curl_t      *oc;
    ngx_opay_transfer_t  *t;

    oc = ngx_opay_curl;

    h->outcome = NGX_OPAY_HTTP_NOT_SENT;
    h->status = 0;
    h->retry_after = 0;
    h->reply.data = NULL;
    h->reply.len = 0;
    h->error = NULL;
    h->priv = NULL;

    if (oc == NULL) {
        return NGX_ERROR;
    }

    t = ngx_calloc(sizeof(ngx_opay_transfer_t), oc->log);
    if (t == NULL) {
        return NGX_ERROR;
    }

    t->h = h;
    h->priv = t;

    ngx_queue_insert_tail(&oc->transfers, &t->queue);

    if (ngx_opay_http_setup(t) != NGX_OK
        || curl_multi_add_handle(oc->multi, t->easy) != CURLM_OK)
    {
        ngx_log_error(NGX_LOG_ERR, oc->log, 0,
                      "opay: cannot prepare a request to \"%s\"", h->url);
        ngx_opay_http_free(t);
        return NGX_ERROR;
    }

    t->guard.handler = ngx_opay_http_guard;
    t->guard.data = &oc->dummy;
    t->guard.log = oc->log;
    t->guard.cancelable = h->background ? 1 : 0;
    ngx_add_timer(&t->guard, h->timeout + NGX_OPAY_HTTP_GUARD);

    return NGX_OK;
}


ngx_int_t
ngx_opay_http_perform(ngx_opay_http_t *h)
{
    CURLcode              rc;
    ngx_int_t             ok;
    ngx_opay_transfer_t  *t;

    t = ngx_calloc(sizeof(ngx_opay_transfer_t), ngx_opay_curl->log);
    if (t == NULL) {
        return NGX_ERROR;
    }

    t->h = h;
    ngx_queue_insert_tail(&ngx_opay_curl->transfers, &t->queue);

    ok = NGX_ERROR;

    if (ngx_opay_http_setup(t) == NGX_OK) {
        rc = curl_easy_perform(t->easy);
        ok = (rc == CURLE_OK) ? NGX_OK : NGX_ERROR;
    }

    ngx_opay_http_free(t);

    return ok;
}


void
ngx_opay_http_cancel(ngx_opay_http_t *h)
{
    if (h->priv) {
        ngx_opay_http_free(h->priv);
    }
}


static ngx_int_t
ngx_opay_http_setup(ngx_opay_transfer_t *t)
{
    CURL             *e;
    CURLcode          rc;
    ngx_opay_http_t  *h;

    h = t->h;

    e = curl_easy_init();
    if (e == NULL) {
        return NGX_ERROR;
    }

    t->easy = e;

    if (ngx_opay_http_headers(t) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = CURLE_OK;

#define ngx_opay_http_opt(o, v)                                              \
    if (rc == CURLE_OK) {                                                    \
        rc = curl_easy_setopt(e, CURLOPT_##o, v);                            \
    }

    ngx_opay_http_opt(PRIVATE, (void *) t);
    ngx_opay_http_opt(NOSIGNAL, 1L);
    ngx_opay_http_opt(PROXY, "");
    ngx_opay_http_opt(URL, h->url);
    ngx_opay_http_opt(CUSTOMREQUEST, h->method);
    ngx_opay_http_opt(HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
    ngx_opay_http_opt(USERAGENT, "opay/" NGX_OPAY_VERSION);
    ngx_opay_http_opt(FOLLOWLOCATION, 0L);
    ngx_opay_http_opt(TCP_KEEPALIVE, 1L);
    ngx_opay_http_opt(SSL_VERIFYPEER, 1L);
    ngx_opay_http_opt(SSL_VERIFYHOST, 2L);
    ngx_opay_http_opt(SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
    ngx_opay_http_opt(CONNECTTIMEOUT_MS, (long) h->connect_timeout);
    ngx_opay_http_opt(TIMEOUT_MS, (long) h->timeout);
    ngx_opay_http_opt(WRITEFUNCTION, ngx_opay_curl_write);
    ngx_opay_http_opt(WRITEDATA, (void *) t);
    ngx_opay_http_opt(HEADERFUNCTION, ngx_opay_curl_header);
    ngx_opay_http_opt(HEADERDATA, (void *) t);
    ngx_opay_http_opt(OPENSOCKETFUNCTION, ngx_opay_curl_open);

#if (LIBCURL_VERSION_NUM >= 0x075500)
    ngx_opay_http_opt(PROTOCOLS_STR, "http,https");
#else
    ngx_opay_http_opt(PROTOCOLS, (long) (CURLPROTO_HTTP|CURLPROTO_HTTPS));
#endif

    if (t->headers) {
        ngx_opay_http_opt(HTTPHEADER, t->headers);
    }

    if (t->connect_to) {
        ngx_opay_http_opt(CONNECT_TO, t->connect_to);
    }

    if (h->body.len || !ngx_opay_http_is_safe(h->method)) {
        ngx_opay_http_opt(POSTFIELDSIZE_LARGE, (curl_off_t) h->body.len);
        ngx_opay_http_opt(POSTFIELDS, h->body.data ? h->body.data : "");
    }

    if (ngx_strcmp(h->method, "HEAD") == 0) {
        ngx_opay_http_opt(NOBODY, 1L);
    }

    /*
     * On a connection that was kept and found dead curl sends the request
     * again by itself.  A POST is ours to repeat.
     */

    if (!ngx_opay_http_is_safe(h->method)) {
        ngx_opay_http_opt(FRESH_CONNECT, 1L);
        ngx_opay_http_opt(FORBID_REUSE, 1L);
    }

    if (h->ca) {
        ngx_opay_http_opt(CAINFO, h->ca);
    }

    if (h->cert) {
        ngx_opay_http_opt(SSLCERT, h->cert);
    }

    if (h->key) {
        ngx_opay_http_opt(SSLKEY, h->key);
    }

    return rc == CURLE_OK ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_opay_http_headers(ngx_opay_transfer_t *t)
{
    char                buf[128];
    ngx_uint_t          i;
    struct curl_slist  *list;

    /* no 100-continue round trip; no type of curl's choice */

    static const char  *off[] = { "Expect:", "Content-Type:" };

    for (i = 0; i < 2; i++) {
        list = curl_slist_append(t->headers, off[i]);
        if (list == NULL) {
            return NGX_ERROR;
        }

        t->headers = list;
    }

    for (i = 0; t->h->headers && t->h->headers[i]; i++) {

        /* the caller's type goes instead of, not after, ours */

        if (ngx_strncasecmp((u_char *) t->h->headers[i],
                            (u_char *) "content-type:", 13)
            == 0
            && t->headers->next)
        {
            curl_slist_free_all(t->headers->next);
            t->headers->next = NULL;
            break;
        }
    }

    for (i = 0; t->h->headers && t->h->headers[i]; i++) {
        list = curl_slist_append(t->headers, t->h->headers[i]);
        if (list == NULL) {
            return NGX_ERROR;
        }

        t->headers = list;
    }

    if (t->h->connect_to == NULL) {
        return NGX_OK;
    }

    if (ngx_snprintf((u_char *) buf, sizeof(buf), "::%s%Z",
                     t->h->connect_to)
        == (u_char *) buf + sizeof(buf))
    {
        return NGX_ERROR;
    }

    t->connect_to = curl_slist_append(NULL, buf);

    return t->connect_to ? NGX_OK : NGX_ERROR;
}


static ngx_uint_t
ngx_opay_http_is_safe(const char *method)
{
    return ngx_strcmp(method, "GET") == 0 || ngx_strcmp(method, "HEAD") == 0
           || ngx_strcmp(method, "DELETE") == 0;
}


void
ngx_opay_http_free(ngx_opay_transfer_t *t)
{
    t->h->priv = NULL;

    ngx_queue_remove(&t->queue);

    if (t->guard.timer_set) {
        ngx_del_timer(&t->guard);
    }

    if (t->easy) {
        curl_multi_remove_handle(ngx_opay_curl->multi, t->easy);
        curl_easy_cleanup(t->easy);
        ERR_clear_error();
    }

    curl_slist_free_all(t->headers);
    curl_slist_free_all(t->connect_to);

    if (t->buf) {
        ngx_free(t->buf);
    }

    ngx_free(t);
}


void
ngx_opay_http_finish(ngx_opay_transfer_t *t, CURLcode code)
{
    long              status, sent;
    ngx_opay_http_t  *h;

    h = t->h;
    status = 0;
    sent = 0;

    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &sent);

    h->status = status;

    if (code == CURLE_OK && status != 0) {
        h->outcome = NGX_OPAY_HTTP_ANSWERED;
        h->error = NULL;

        h->reply.data = opay_arena_dup(h->arena, t->buf ? t->buf
                                                        : (u_char *) "",
                                       t->len + (t->buf ? 0 : 1));
        h->reply.len = t->len;

        if (h->reply.data == NULL) {
            h->outcome = NGX_OPAY_HTTP_UNKNOWN;
            h->reply.len = 0;
            h->error = "out of memory";
        }

    } else {
        h->outcome = sent ? NGX_OPAY_HTTP_UNKNOWN : NGX_OPAY_HTTP_NOT_SENT;
        h->error = t->too_big ? "the answer is too large"
                              : curl_easy_strerror(code);
    }

    ngx_opay_http_free(t);

    h->done(h);
}


/* curl's own limit did not end it: this does. */

static void
ngx_opay_http_guard(ngx_event_t *ev)
{
    ngx_opay_transfer_t  *t;

    t = (ngx_opay_transfer_t *)
            ((u_char *) ev - offsetof(ngx_opay_transfer_t, guard));

    ngx_log_error(NGX_LOG_ERR, ev->log, 0,
                  "opay: request to \"%s\" outlived its time limit",
                  t->h->url);

    ngx_opay_http_finish(t, CURLE_OPERATION_TIMEDOUT);
}


static size_t
ngx_opay_curl_write(char *p, size_t size, size_t n, void *data)
{
    ngx_opay_transfer_t  *t = data;

    size_t   need;
    u_char  *buf;

    n *= size;

    if (n > t->h->reply_max - t->len) {
        t->too_big = 1;
        return 0;
    }

    need = t->len + n + 1;

    if (need > t->size) {
        need = ngx_max(need, 2 * t->size);

        buf = ngx_alloc(need, ngx_opay_curl->log);
        if (buf == NULL) {
            return 0;
        }

        if (t->buf) {
            ngx_memcpy(buf, t->buf, t->len);
            ngx_free(t->buf);
        }

        t->buf = buf;
        t->size = need;
    }

    ngx_memcpy(t->buf + t->len, p, n);
    t->len += n;
    t->buf[t->len] = '\0';

    return n;
}


static size_t
ngx_opay_curl_header(char *p, size_t size, size_t n, void *data)
{
    ngx_opay_transfer_t  *t = data;

    char       *colon, *value, *last;
    size_t      len;
    ngx_int_t   seconds;

    n *= size;

    colon = memchr(p, ':', n);

    if (colon == NULL) {
        return n;
    }

    last = p + n;
    value = colon + 1;

    while (value < last && (*value == ' ' || *value == '\t')) {
        value++;
    }

    while (last > value && (u_char) last[-1] <= ' ') {
        last--;
    }

    len = colon - p;

    if (len == 11
        && ngx_strncasecmp((u_char *) p, (u_char *) "retry-after", 11) == 0)
    {
        seconds = ngx_atoi((u_char *) value, last - value);
        t->h->retry_after = seconds > 0 ? seconds : 0;
    }

    if (t->h->header) {
        t->h->header(t->h, p, len, value, last - value);
    }

    return n;
}
