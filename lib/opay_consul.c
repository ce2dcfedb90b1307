
/* Wire forms of the Consul agent's API: see opay_consul.h. */

#include "opay_consul.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>


#define OPAY_CONSUL_DEREGISTER  "10m"


static int opay_consul_entry(opay_peer_t *peer, json_t *entry);
static int opay_consul_state(json_t *checks, unsigned *state);
static unsigned opay_consul_weight(json_t *service, const char *name);
static const char *opay_consul_string(json_t *object, const char *name);
static uint64_t opay_consul_hash(uint64_t h, const char *s);


int
opay_consul_parse_health(opay_peers_t *list, const char *json, size_t len)
{
    size_t        i;
    json_t       *root;
    opay_peer_t   peer;
    json_error_t  error;

    memset(list, 0, sizeof(opay_peers_t));

    root = json_loadb(json, len, 0, &error);

    if (!json_is_array(root)) {
        json_decref(root);
        return OPAY_ERROR;
    }

    for (i = 0; i < json_array_size(root); i++) {

        if (opay_consul_entry(&peer, json_array_get(root, i)) != OPAY_OK) {
            list->malformed++;
            continue;
        }

        (void) opay_peers_add(list, &peer);
    }

    json_decref(root);

    opay_peers_sort(list);

    return OPAY_OK;
}


static int
opay_consul_entry(opay_peer_t *peer, json_t *entry)
{
    char         port[8];
    json_t      *node, *service, *number;
    unsigned     state;
    uint64_t     h;
    const char  *name, *id, *address;

    memset(peer, 0, sizeof(opay_peer_t));

    node = json_object_get(entry, "Node");
    service = json_object_get(entry, "Service");

    name = opay_consul_string(node, "Node");
    id = opay_consul_string(service, "ID");
    address = opay_consul_string(service, "Address");
    number = json_object_get(service, "Port");

    if (name == NULL || id == NULL || !json_is_integer(number)) {
        return OPAY_ERROR;
    }

    /* an empty address stands for the node's */

    if (address == NULL || *address == '\0') {
        address = opay_consul_string(node, "Address");
    }

    if (address == NULL
        || opay_peer_addr(peer, address, json_integer_value(number))
           != OPAY_OK
        || opay_consul_state(json_object_get(entry, "Checks"), &state)
           != OPAY_OK)
    {
        return OPAY_ERROR;
    }

    peer->state = (uint8_t) state;

    if (state != OPAY_PEER_MAINT) {
        peer->weight = opay_consul_weight(service,
                                          state == OPAY_PEER_WARNING
                                          ? "Warning" : "Passing");
    }

    /* a service id is unique on its node only */

    snprintf(port, sizeof(port), "%u", (unsigned) peer->port);

    h = opay_consul_hash(14695981039346656037ULL, name);
    h = opay_consul_hash(h, id);
    h = opay_consul_hash(h, address);
    peer->id = opay_consul_hash(h, port);

    return OPAY_OK;
}


static int
opay_consul_state(json_t *checks, unsigned *state)
{
    size_t       i;
    json_t      *check;
    const char  *id, *status;

    *state = OPAY_PEER_PASSING;

    if (checks == NULL || json_is_null(checks)) {
        return OPAY_OK;
    }

    if (!json_is_array(checks)) {
        return OPAY_ERROR;
    }

    for (i = 0; i < json_array_size(checks); i++) {

        check = json_array_get(checks, i);
        id = opay_consul_string(check, "CheckID");
        status = opay_consul_string(check, "Status");

        if (id == NULL || status == NULL) {
            return OPAY_ERROR;
        }

        if (strcmp(id, "_node_maintenance") == 0
            || strncmp(id, "_service_maintenance:", 21) == 0)
        {
            *state = OPAY_PEER_MAINT;
            return OPAY_OK;
        }

        if (strcmp(status, "critical") == 0) {
            *state = OPAY_PEER_CRITICAL;

        } else if (strcmp(status, "warning") == 0) {
            if (*state == OPAY_PEER_PASSING) {
                *state = OPAY_PEER_WARNING;
            }

        } else if (strcmp(status, "passing") != 0) {
            return OPAY_ERROR;
        }
    }

    return OPAY_OK;
}


static unsigned
opay_consul_weight(json_t *service, const char *name)
{
    json_t      *weight;
    json_int_t   n;

    weight = json_object_get(json_object_get(service, "Weights"), name);

    if (!json_is_integer(weight)) {
        return 1;
    }

    n = json_integer_value(weight);

    if (n < 0) {
        return 1;
    }

    return n > OPAY_PEER_WEIGHT_MAX ? OPAY_PEER_WEIGHT_MAX : (unsigned) n;
}


static const char *
opay_consul_string(json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}


/* FNV-1a, over the string and its NUL. */

static uint64_t
opay_consul_hash(uint64_t h, const char *s)
{
    do {
        h ^= (uint8_t) *s;
        h *= 1099511628211ULL;
    } while (*s++);

    return h;
}


char *
opay_consul_register_json(const opay_consul_service_t *s)
{
    char    *text, interval[32];
    json_t  *root;

    snprintf(interval, sizeof(interval), "%ums", s->interval);

    root = json_pack("{s:s, s:s, s:s, s:i, s:[{s:o, s:s, s:s, s:s, s:s, s:s,"
                     " s:i, s:i}]}",
                     "ID", s->id,
                     "Name", s->name,
                     "Address", s->address,
                     "Port", (int) s->port,
                     "Checks",
                         "CheckID", json_sprintf("service:%s", s->id),
                         "Name", "ready",
                         "HTTP", s->check,
                         "Interval", interval,
                         "Timeout", "1s",
                         "DeregisterCriticalServiceAfter",
                         OPAY_CONSUL_DEREGISTER,
                         "SuccessBeforePassing", 1,
                         "FailuresBeforeCritical", 2);
    if (root == NULL) {
        return NULL;
    }

    text = json_dumps(root, JSON_COMPACT);

    json_decref(root);

    return text;
}


uint64_t
opay_consul_next_index(uint64_t old, const char *header, size_t len)
{
    size_t    i;
    uint64_t  index;

    index = 0;

    for (i = 0; header && i < len; i++) {
        if (header[i] < '0' || header[i] > '9'
            || index > (UINT64_MAX - 9) / 10)
        {
            index = 0;
            break;
        }

        index = index * 10 + (header[i] - '0');
    }

    if (index == 0) {
        return 1;
    }

    return index < old ? 0 : index;
}
