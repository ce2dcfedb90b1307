
/*
 * DESIGN
 *
 * A connection belongs to one thread and one opay_db_conf_t.  It is kept in
 * a list in thread-specific data and closed by its destructor when the
 * thread ends, that is, when its cycle is over.  The list has one entry
 * unless a thread_pool is shared by several services.
 */

#include <dlfcn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "ngx_opay_thread.h"


#define NGX_OPAY_HASH_NICE  15


typedef struct ngx_opay_thread_db_s  ngx_opay_thread_db_t;

struct ngx_opay_thread_db_s {
    const opay_db_conf_t  *conf;
    opay_db_t             *db;
    ngx_opay_thread_db_t  *next;
};


static void ngx_opay_thread_key_init(void);
static void ngx_opay_thread_destroy(void *data);


static pthread_key_t    ngx_opay_thread_key;
static pthread_once_t   ngx_opay_thread_once = PTHREAD_ONCE_INIT;
static __thread int     ngx_opay_thread_demoted;


opay_db_t *
ngx_opay_thread_db(const opay_db_conf_t *conf)
{
    ngx_opay_thread_db_t  *t, *head;

    (void) pthread_once(&ngx_opay_thread_once, ngx_opay_thread_key_init);

    head = pthread_getspecific(ngx_opay_thread_key);

    for (t = head; t; t = t->next) {
        if (t->conf == conf) {
            return t->db;
        }
    }

    t = malloc(sizeof(ngx_opay_thread_db_t));
    if (t == NULL) {
        return NULL;
    }

    t->db = opay_db_create(conf);
    if (t->db == NULL) {
        free(t);
        return NULL;
    }

    t->conf = conf;
    t->next = head;

    (void) pthread_setspecific(ngx_opay_thread_key, t);

    return t->db;
}


static void
ngx_opay_thread_key_init(void)
{
    Dl_info  info;

    (void) pthread_key_create(&ngx_opay_thread_key, ngx_opay_thread_destroy);

    /*
     * nginx unloads its modules at exit while threads that it takes for gone
     * may still be on their way to the destructor: this file must stay.
     */

    if (dladdr((void *) &ngx_opay_thread_key, &info)) {
        (void) dlopen(info.dli_fname, RTLD_NOW|RTLD_NOLOAD|RTLD_NODELETE);
    }
}


static void
ngx_opay_thread_destroy(void *data)
{
    ngx_opay_thread_db_t  *t, *next;

    for (t = data; t; t = next) {
        next = t->next;
        opay_db_destroy(t->db);
        free(t);
    }
}


void
ngx_opay_thread_demote(void)
{
    if (ngx_opay_thread_demoted) {
        return;
    }

    ngx_opay_thread_demoted = 1;

    (void) setpriority(PRIO_PROCESS, (id_t) syscall(SYS_gettid),
                       NGX_OPAY_HASH_NICE);
}


void
ngx_opay_thread_notify(int fd, ngx_str_t *path, opay_call_t **calls, size_t n)
{
    size_t              i;
    struct sockaddr_un  sun;

    if (fd == -1) {
        return;
    }

    for (i = 0; i < n; i++) {
        if (calls[i]->wrote) {
            break;
        }
    }

    if (i == n) {
        return;
    }

    memset(&sun, 0, sizeof(struct sockaddr_un));
    sun.sun_family = AF_UNIX;
    memcpy(sun.sun_path, path->data, path->len);

    /* a lost datagram costs latency only: the sidecar polls as well */

    (void) sendto(fd, "1", 1, MSG_DONTWAIT|MSG_NOSIGNAL,
                  (struct sockaddr *) &sun, sizeof(struct sockaddr_un));
}
