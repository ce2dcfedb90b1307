
/* What the two halves of the HTTP client share: see ngx_opay_curl.c. */

#ifndef _NGX_OPAY_CURL_H_INCLUDED_
#define _NGX_OPAY_CURL_H_INCLUDED_


#include "ngx_opay_discovery.h"

#include <curl/curl.h>


typedef struct {
    CURLM                *multi;
    ngx_event_t           timer;       /* cancelable: holds nobody */
    ngx_connection_t      dummy;       /* what timers show as their data */
    ngx_queue_t           transfers;
    ngx_queue_t           sockets;     /* ngx_connection_t.queue */
    ngx_log_t            *log;
} ngx_opay_curl_t;


typedef struct {
    ngx_opay_http_t      *h;
    CURL                 *easy;
    struct curl_slist    *headers;
    struct curl_slist    *connect_to;
    ngx_event_t           guard;
    ngx_queue_t           queue;

    u_char               *buf;         /* malloc()ed */
    size_t                len;
    size_t                size;

    unsigned              too_big:1;
} ngx_opay_transfer_t;


/* of this worker; NULL outside init_process() ... exit_process() */
extern ngx_opay_curl_t  *ngx_opay_curl;


/* ngx_opay_curl.c */
curl_socket_t ngx_opay_curl_open(void *data, curlsocktype purpose,
    struct curl_sockaddr *address);

/* ngx_opay_http_send.c */
void ngx_opay_http_free(ngx_opay_transfer_t *t);
void ngx_opay_http_finish(ngx_opay_transfer_t *t, CURLcode code);


#endif /* _NGX_OPAY_CURL_H_INCLUDED_ */
