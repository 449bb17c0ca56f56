/* SPDX-License-Identifier: Apache-2.0 */
/* A NIF that needs a library which no ERTS needs. */
#include <erl_nif.h>
#include <libdeflate.h>

static ERL_NIF_TERM checksum(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
	ErlNifBinary bytes;

	(void)argc;
	if (!enif_inspect_iolist_as_binary(env, argv[0], &bytes))
		return enif_make_badarg(env);
	return enif_make_uint(env, libdeflate_crc32(0, bytes.data, bytes.size));
}

static ErlNifFunc functions[] = {{"checksum", 1, checksum, 0}};

ERL_NIF_INIT(seal, functions, NULL, NULL, NULL, NULL)
