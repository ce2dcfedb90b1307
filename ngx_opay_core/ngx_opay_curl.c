
/*
 * DESIGN
 *
 * ngx_opay_http_send(): libcurl's multi interface on nginx's event loop.  One
 * multi handle per worker, made in init_process() and gone in exit_process();
 * event loop only.
 *
 *   curl says                 here
 *   socket callback           an nginx connection per socket, registered
 *                             level-triggered: curl does not promise to read
 *                             until EAGAIN
 *   timer callback            one nginx timer; 0 ms posts an event, for curl
 *                             must not be called out of its own callbacks
 *   socket or timer is ready  curl_multi_socket_action(), then the finished
 *                             transfers are told to their owners
 *
 * The file descriptor belongs to curl: the nginx connection is freed when
 * curl says so, the descriptor is never closed here.  Both event handlers are
 * always set, since nginx calls them when a worker must go.
 *
 * curl 7.88 closes a socket that is still connecting before it says so, and
 * may open the next attempt under the same number without saying anything.
 * The kernel has forgotten the registration then: what curl opens goes
 * through ngx_opay_curl_open(), which renews it, and a number that is closed
 * already is not taken out of epoll once more.
 *
 * A transfer holds a worker that quits by a timer of its own that is not
 * cancelable, unless it is a background one.  That timer is also the net
 * under curl's own time limit.
 *
 * Names in URLs are looked up by a thread that curl starts; it inherits a
 * mask that blocks all signals, so that nginx's arrive at nginx's thread.
 */

#include "ngx_opay_curl.h"

#include <openssl/err.h>
#include <signal.h>


static int ngx_opay_curl_socket(CURL *easy, curl_socket_t s, int what,
    void *data, void *sockdata);
static ngx_int_t ngx_opay_curl_watch(ngx_event_t *ev, ngx_int_t event,
    ngx_uint_t wanted);
static void ngx_opay_curl_forget(ngx_connection_t *c);
static int ngx_opay_curl_timeout(CURLM *multi, long ms, void *data);
static void ngx_opay_curl_timer_handler(ngx_event_t *ev);
static void ngx_opay_curl_event_handler(ngx_event_t *ev);
static void ngx_opay_curl_action(curl_socket_t s, int mask);
static void ngx_opay_curl_drain(void);
static void ngx_opay_curl_abort(void);


ngx_opay_curl_t  *ngx_opay_curl;


ngx_int_t
ngx_opay_curl_init(ngx_cycle_t *cycle)
{
    ngx_opay_curl_t  *oc;

    if (curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "opay: curl_global_init() failed");
        return NGX_ERROR;
    }

    oc = ngx_pcalloc(cycle->pool, sizeof(ngx_opay_curl_t));
    if (oc == NULL) {
        return NGX_ERROR;
    }

    oc->multi = curl_multi_init();
    if (oc->multi == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "opay: curl_multi_init() failed");
        return NGX_ERROR;
    }

    ngx_queue_init(&oc->transfers);
    ngx_queue_init(&oc->sockets);

    oc->log = cycle->log;
    oc->dummy.fd = (ngx_socket_t) -1;

    oc->timer.handler = ngx_opay_curl_timer_handler;
    oc->timer.data = &oc->dummy;
    oc->timer.log = cycle->log;
    oc->timer.cancelable = 1;

    curl_multi_setopt(oc->multi, CURLMOPT_SOCKETFUNCTION,
                      ngx_opay_curl_socket);
    curl_multi_setopt(oc->multi, CURLMOPT_TIMERFUNCTION,
                      ngx_opay_curl_timeout);

    ngx_opay_curl = oc;

    return NGX_OK;
}


void
ngx_opay_curl_done(void)
{
    ngx_queue_t          *q;
    ngx_opay_curl_t      *oc;
    ngx_opay_transfer_t  *t;

    oc = ngx_opay_curl;

    if (oc == NULL) {
        return;
    }

    /* the process ends: nobody is left to be told */

    while (!ngx_queue_empty(&oc->transfers)) {
        q = ngx_queue_head(&oc->transfers);
        t = ngx_queue_data(q, ngx_opay_transfer_t, queue);
        ngx_opay_http_free(t);
    }

    curl_multi_cleanup(oc->multi);

    if (oc->timer.timer_set) {
        ngx_del_timer(&oc->timer);
    }

    ngx_opay_curl = NULL;
}


curl_socket_t
ngx_opay_curl_open(void *data, curlsocktype purpose,
    struct curl_sockaddr *address)
{
    ngx_uint_t         in, out;
    ngx_queue_t       *q;
    curl_socket_t      s;
    ngx_connection_t  *c;

    (void) data;
    (void) purpose;

    s = socket(address->family, address->socktype|SOCK_CLOEXEC,
               address->protocol);

    if (s == (curl_socket_t) -1) {
        return CURL_SOCKET_BAD;
    }

    for (q = ngx_queue_head(&ngx_opay_curl->sockets);
         q != ngx_queue_sentinel(&ngx_opay_curl->sockets);
         q = ngx_queue_next(q))
    {
        c = ngx_queue_data(q, ngx_connection_t, queue);

        if (c->fd != s) {
            continue;
        }

        in = c->read->active;
        out = c->write->active;

        c->read->active = 0;
        c->write->active = 0;

        if (ngx_opay_curl_watch(c->read, NGX_READ_EVENT, in) != NGX_OK
            || ngx_opay_curl_watch(c->write, NGX_WRITE_EVENT, out) != NGX_OK)
        {
            (void) close(s);
            return CURL_SOCKET_BAD;
        }
    }

    return s;
}


static int
ngx_opay_curl_socket(CURL *easy, curl_socket_t s, int what, void *data,
    void *sockdata)
{
    ngx_connection_t  *c = sockdata;

    (void) easy;
    (void) data;

    if (what == CURL_POLL_REMOVE) {
        if (c) {
            curl_multi_assign(ngx_opay_curl->multi, s, NULL);
            ngx_opay_curl_forget(c);
        }

        return 0;
    }

    if (c == NULL) {
        c = ngx_get_connection(s, ngx_opay_curl->log);
        if (c == NULL) {
            return -1;
        }

        c->read->handler = ngx_opay_curl_event_handler;
        c->write->handler = ngx_opay_curl_event_handler;
        c->read->log = c->log;
        c->write->log = c->log;

        ngx_queue_insert_tail(&ngx_opay_curl->sockets, &c->queue);
        curl_multi_assign(ngx_opay_curl->multi, s, c);
    }

    if (ngx_opay_curl_watch(c->read, NGX_READ_EVENT, what & CURL_POLL_IN)
        != NGX_OK
        || ngx_opay_curl_watch(c->write, NGX_WRITE_EVENT,
                               what & CURL_POLL_OUT)
           != NGX_OK)
    {
        return -1;
    }

    return 0;
}


static ngx_int_t
ngx_opay_curl_watch(ngx_event_t *ev, ngx_int_t event, ngx_uint_t wanted)
{
    if (wanted && !ev->active) {
        return ngx_add_event(ev, event, NGX_LEVEL_EVENT);
    }

    if (!wanted && ev->active) {
        return ngx_del_event(ev, event, 0);
    }

    return NGX_OK;
}


static void
ngx_opay_curl_forget(ngx_connection_t *c)
{
    ngx_queue_remove(&c->queue);

    if (c->read->active || c->write->active) {

        if (ngx_del_conn) {
            if (fcntl(c->fd, F_GETFD) != -1) {
                ngx_del_conn(c, 0);
            }

        } else {
            (void) ngx_opay_curl_watch(c->read, NGX_READ_EVENT, 0);
            (void) ngx_opay_curl_watch(c->write, NGX_WRITE_EVENT, 0);
        }
    }

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }

    c->read->closed = 1;
    c->write->closed = 1;

    /* needs the descriptor, which stays curl's */
    ngx_free_connection(c);
    c->fd = (ngx_socket_t) -1;
}


static int
ngx_opay_curl_timeout(CURLM *multi, long ms, void *data)
{
    ngx_event_t  *ev;

    (void) multi;
    (void) data;

    ev = &ngx_opay_curl->timer;

    if (ev->posted) {
        ngx_delete_posted_event(ev);
    }

    if (ev->timer_set) {
        ngx_del_timer(ev);
    }

    if (ms == 0) {
        ngx_post_event(ev, &ngx_posted_next_events);

    } else if (ms > 0) {
        ngx_add_timer(ev, (ngx_msec_t) ms);
    }

    return 0;
}


static void
ngx_opay_curl_timer_handler(ngx_event_t *ev)
{
    sigset_t  all, old;

    ev->timedout = 0;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &old);

    ngx_opay_curl_action(CURL_SOCKET_TIMEOUT, 0);

    sigprocmask(SIG_SETMASK, &old, NULL);

    ngx_opay_curl_drain();
}


static void
ngx_opay_curl_event_handler(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    if (c->close) {
        ngx_opay_curl_abort();
        return;
    }

    ngx_opay_curl_action(c->fd, ev->write ? CURL_CSELECT_OUT
                                          : CURL_CSELECT_IN);

    ngx_opay_curl_drain();
}


static void
ngx_opay_curl_action(curl_socket_t s, int mask)
{
    int        running;
    CURLMcode  rc;

    rc = curl_multi_socket_action(ngx_opay_curl->multi, s, mask, &running);

    if (rc != CURLM_OK) {
        ngx_log_error(NGX_LOG_ALERT, ngx_opay_curl->log, 0,
                      "opay: curl_multi_socket_action(): %s",
                      curl_multi_strerror(rc));
    }

    /* a failed handshake stays in OpenSSL's queue, and nginx looks there */
    ERR_clear_error();
}


/* Owners may send and cancel from done(): look afresh after each. */

static void
ngx_opay_curl_drain(void)
{
    int                   left;
    CURLMsg              *m;
    CURLcode              code;
    ngx_opay_transfer_t  *t;

    while ((m = curl_multi_info_read(ngx_opay_curl->multi, &left)) != NULL) {

        if (m->msg != CURLMSG_DONE) {
            continue;
        }

        code = m->data.result;
        t = NULL;

        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **) &t);

        if (t) {
            ngx_opay_http_finish(t, code);
        }
    }
}


/* worker_shutdown_timeout has passed. */

static void
ngx_opay_curl_abort(void)
{
    ngx_queue_t          *q, taken;
    ngx_opay_transfer_t  *t;

    ngx_queue_init(&taken);

    if (!ngx_queue_empty(&ngx_opay_curl->transfers)) {
        ngx_queue_add(&taken, &ngx_opay_curl->transfers);
        ngx_queue_init(&ngx_opay_curl->transfers);
    }

    while (!ngx_queue_empty(&taken)) {
        q = ngx_queue_head(&taken);
        t = ngx_queue_data(q, ngx_opay_transfer_t, queue);
        ngx_opay_http_finish(t, CURLE_ABORTED_BY_CALLBACK);
    }
}
