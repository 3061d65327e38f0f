/* The Python module: the type MD5 and `update_many`. The hashing is in md5_lanes.c, the types in s3_restore_md5/_md5.pyi.
 *
 * Locks: everything but `md5_run_jobs` and `md5_feed` happens under the interpreter lock. A state is marked busy under it
 * before it is let go, so two threads can never change one state; the second gets an error. Buffers are held all the time.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "md5_lanes.h"

enum { UNLOCK_FROM = 2048 };

typedef struct {
    PyObject_HEAD
    Context context;
    int busy; /* changed under the interpreter lock only */
} Md5;

typedef struct {
    PyTypeObject *type;
    const Set *set;
} Module;

/* --- many at once ------------------------------------------------------------------------------------------------- */

typedef struct {
    Md5 *state;
    Py_buffer buffer;
} Feed;

static int claim(Md5 *state)
{
    if (state->busy) {
        PyErr_SetString(PyExc_RuntimeError, "MD5 is in use by another thread; nothing was hashed");
        return -1;
    }
    state->busy = 1;
    return 0;
}

/* Fills `feeds` from (state, buffer) pairs and claims all states, or sets an error; `held` counts the buffers in any
 * case. */
static int collect(PyTypeObject *type, PyObject *pairs, Feed *feeds, Py_ssize_t count, Py_ssize_t *held)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *pair = PyTuple_GetItem(pairs, i);
        if (!PyTuple_Check(pair) || PyTuple_Size(pair) != 2 || Py_TYPE(PyTuple_GetItem(pair, 0)) != type) {
            PyErr_Format(PyExc_TypeError, "update_many: expected tuples (MD5, buffer), got %R at %zd", pair, i);
            return -1;
        }
        if (PyObject_GetBuffer(PyTuple_GetItem(pair, 1), &feeds[i].buffer, PyBUF_SIMPLE) < 0) return -1;
        feeds[i].state = (Md5 *)PyTuple_GetItem(pair, 0);
        *held = i + 1;
    }
    /* After the last call into code of others, so that no other thread runs until all are claimed. */
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!feeds[i].state->busy) {
            feeds[i].state->busy = 1;
            continue;
        }
        Py_ssize_t twice = 0;
        while (twice < i && feeds[twice].state != feeds[i].state) twice++;
        for (Py_ssize_t j = 0; j < i; j++) feeds[j].state->busy = 0;
        if (twice < i)
            PyErr_Format(PyExc_ValueError, "update_many: the MD5 at %zd is also the one at %zd; nothing was hashed", i,
                         twice);
        else
            claim(feeds[i].state);
        return -1;
    }
    return 0;
}

static PyObject *update_many(PyObject *module, PyObject *argument)
{
    const Module *own = PyModule_GetState(module);
    PyObject *pairs = PySequence_Tuple(argument); /* owns the pairs, and they the states, while the lock is away */
    if (!pairs) return NULL;
    Py_ssize_t count = PyTuple_Size(pairs), held = 0;
    Feed *feeds = PyMem_Calloc((size_t)count + 1, sizeof *feeds);
    Job *jobs = PyMem_Calloc((size_t)count + 1, sizeof *jobs);
    Job **queue = PyMem_Calloc((size_t)count + 1, sizeof *queue);
    PyObject *result = NULL;
    if (!feeds || !jobs || !queue) {
        PyErr_NoMemory();
    } else if (collect(own->type, pairs, feeds, count, &held) == 0) {
        const Set *set = own->set;
        for (Py_ssize_t i = 0; i < count; i++)
            jobs[i] = (Job){&feeds[i].state->context, feeds[i].buffer.buf, (size_t)feeds[i].buffer.len, 0};
        Py_BEGIN_ALLOW_THREADS
        md5_run_jobs(set, jobs, queue, (size_t)count);
        Py_END_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < count; i++) feeds[i].state->busy = 0;
        result = Py_NewRef(Py_None);
    }
    for (Py_ssize_t i = 0; i < held; i++) PyBuffer_Release(&feeds[i].buffer);
    PyMem_Free(queue);
    PyMem_Free(jobs);
    PyMem_Free(feeds);
    Py_DECREF(pairs);
    return result;
}

/* --- the type ----------------------------------------------------------------------------------------------------- */

static int feed_object(Md5 *self, PyObject *data)
{
    Py_buffer buffer;
    if (PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE) < 0) return -1;
    int failed = claim(self);
    if (!failed) {
        if (buffer.len < UNLOCK_FROM) {
            md5_feed(&self->context, buffer.buf, (size_t)buffer.len);
        } else {
            Py_BEGIN_ALLOW_THREADS
            md5_feed(&self->context, buffer.buf, (size_t)buffer.len);
            Py_END_ALLOW_THREADS
        }
        self->busy = 0;
    }
    PyBuffer_Release(&buffer);
    return failed;
}

static Md5 *allocate(PyTypeObject *type)
{
    Md5 *self = (Md5 *)PyType_GenericAlloc(type, 0);
    if (self) md5_begin(&self->context);
    return self;
}

static PyObject *md5_new(PyTypeObject *type, PyObject *arguments, PyObject *names)
{
    PyObject *data = NULL;
    if (names && PyDict_Size(names)) {
        PyErr_SetString(PyExc_TypeError, "MD5() takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(arguments, "|O:MD5", &data)) return NULL;
    Md5 *self = allocate(type);
    if (self && data && feed_object(self, data) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void md5_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *md5_update(PyObject *self, PyObject *data)
{
    return feed_object((Md5 *)self, data) < 0 ? NULL : Py_NewRef(Py_None);
}

static int digest_of(PyObject *self, uint8_t *digest)
{
    if (claim((Md5 *)self) < 0) return -1;
    md5_finish(((Md5 *)self)->context, digest);
    ((Md5 *)self)->busy = 0;
    return 0;
}

static PyObject *md5_digest(PyObject *self, PyObject *Py_UNUSED(none))
{
    uint8_t digest[DIGEST];
    if (digest_of(self, digest) < 0) return NULL;
    return PyBytes_FromStringAndSize((const char *)digest, DIGEST);
}

static PyObject *md5_hexdigest(PyObject *self, PyObject *Py_UNUSED(none))
{
    uint8_t digest[DIGEST];
    char text[2 * DIGEST];
    if (digest_of(self, digest) < 0) return NULL;
    for (int i = 0; i < DIGEST; i++) {
        text[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    return PyUnicode_DecodeASCII(text, sizeof text, NULL);
}

static PyObject *md5_copy(PyObject *self, PyObject *Py_UNUSED(none))
{
    Md5 *copy = allocate(Py_TYPE(self));
    if (!copy) return NULL;
    if (claim((Md5 *)self) < 0) {
        Py_DECREF(copy);
        return NULL;
    }
    copy->context = ((Md5 *)self)->context;
    ((Md5 *)self)->busy = 0;
    return (PyObject *)copy;
}

static PyObject *get_name(PyObject *Py_UNUSED(self), void *Py_UNUSED(closure)) { return PyUnicode_FromString("md5"); }
static PyObject *get_size(PyObject *Py_UNUSED(self), void *Py_UNUSED(closure)) { return PyLong_FromLong(DIGEST); }
static PyObject *get_block(PyObject *Py_UNUSED(self), void *Py_UNUSED(closure)) { return PyLong_FromLong(BLOCK); }

static PyMethodDef md5_methods[] = {
    {"update", md5_update, METH_O, "Take more bytes."},
    {"digest", md5_digest, METH_NOARGS, "Hash of the bytes taken, 16 bytes."},
    {"hexdigest", md5_hexdigest, METH_NOARGS, "Hash of the bytes taken, 32 hex digits."},
    {"copy", md5_copy, METH_NOARGS, "Fork the state."},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef md5_properties[] = {
    {"name", get_name, NULL, NULL, NULL},
    {"digest_size", get_size, NULL, NULL, NULL},
    {"block_size", get_block, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot md5_slots[] = {
    {Py_tp_doc, "MD5(data=b'', /): an MD5 in the making, with the methods of hashlib's."},
    {Py_tp_new, md5_new},
    {Py_tp_dealloc, md5_dealloc},
    {Py_tp_methods, md5_methods},
    {Py_tp_getset, md5_properties},
    {0, NULL},
};
static PyType_Spec md5_spec = {
    .name = "s3_restore_md5._md5.MD5",
    .basicsize = sizeof(Md5),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = md5_slots,
};

/* --- the module --------------------------------------------------------------------------------------------------- */

static PyObject *instruction_sets(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    PyObject *names = PyList_New(0);
    for (int i = 0; names && i < md5_set_count(); i++) {
        if (!md5_can_run(md5_set(i))) continue;
        PyObject *name = PyUnicode_FromString(md5_set_name(md5_set(i)));
        if (!name || PyList_Append(names, name) < 0) Py_CLEAR(names);
        Py_XDECREF(name);
    }
    PyObject *result = names ? PyList_AsTuple(names) : NULL;
    Py_XDECREF(names);
    return result;
}

static PyObject *instruction_set(PyObject *module, PyObject *Py_UNUSED(none))
{
    return PyUnicode_FromString(md5_set_name(((const Module *)PyModule_GetState(module))->set));
}

static PyObject *lane_count(PyObject *module, PyObject *Py_UNUSED(none))
{
    return PyLong_FromLong(md5_set_lanes(((const Module *)PyModule_GetState(module))->set));
}

static PyObject *select_set(PyObject *module, PyObject *name)
{
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, "select: expected the name of an instruction set, got %R", name);
        return NULL;
    }
    for (int i = 0; i < md5_set_count(); i++) {
        if (PyUnicode_CompareWithASCIIString(name, md5_set_name(md5_set(i))) || !md5_can_run(md5_set(i))) continue;
        ((Module *)PyModule_GetState(module))->set = md5_set(i);
        return Py_NewRef(Py_None);
    }
    PyErr_Format(PyExc_ValueError, "select: expected one of instruction_sets(), got %R", name);
    return NULL;
}

static int module_exec(PyObject *module)
{
    Module *own = PyModule_GetState(module);
    for (int i = 0; i < md5_set_count(); i++)
        if (md5_can_run(md5_set(i))) own->set = md5_set(i);
    own->type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &md5_spec, NULL);
    if (!own->type) return -1;
    return PyModule_AddType(module, own->type);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    Module *own = PyModule_GetState(module);
    Py_VISIT(own->type);
    return 0;
}

static int module_clear(PyObject *module)
{
    Module *own = PyModule_GetState(module);
    Py_CLEAR(own->type);
    return 0;
}

static PyMethodDef module_methods[] = {
    {"update_many", update_many, METH_O, "Feed to each state its buffer: update_many([(state, buffer), ...])."},
    {"instruction_sets", instruction_sets, METH_NOARGS, "What this processor can do, slowest first."},
    {"instruction_set", instruction_set, METH_NOARGS, "What update_many uses now."},
    {"lane_count", lane_count, METH_NOARGS, "How many streams it hashes at once."},
    {"select", select_set, METH_O, "Let update_many use this instruction set."},
    {NULL, NULL, 0, NULL},
};
static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};
static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "s3_restore_md5._md5",
    .m_doc = "MD5 of many streams at once.",
    .m_size = sizeof(Module),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
};

PyMODINIT_FUNC PyInit__md5(void) { return PyModuleDef_Init(&definition); }
