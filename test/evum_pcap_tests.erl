%% SPDX-License-Identifier: Apache-2.0
%% Capture files as tshark reads them
-module(evum_pcap_tests).
-include_lib("eunit/include/eunit.hrl").

-define(NS, 1700000000123456789).

%% To nobody from nobody, of a type that nobody has; any length.
ethernet(Payload) -> <<2:48, 4:48, 16#88b5:16, Payload/binary>>.

blocks_are_whole_test() ->
    [begin
         Block = iolist_to_binary(evum_pcap:frame(0, ?NS, inbound, binary:copy(<<1>>, Length), Length, Dropped)),
         <<6:32/little, Size:32/little, _/binary>> = Block,
         ?assertEqual(byte_size(Block), Size),
         ?assertEqual(0, Size rem 4),
         ?assertEqual(<<Size:32/little>>, binary:part(Block, Size, -4))
     end || Length <- lists:seq(14, 18), Dropped <- [0, 7]].

tshark_reads_times_names_and_directions_test_() ->
    {timeout, 30, fun() ->
        Long = ethernet(binary:copy(<<7>>, 65000)),
        File = [
            evum_pcap:section(), evum_pcap:interface(<<"evm1">>),
            evum_pcap:frame(0, ?NS, outbound, ethernet(<<>>), 14, 0),
            evum_pcap:interface(<<"zwölf"/utf8>>),
            evum_pcap:frame(1, ?NS + 1, inbound, Long, byte_size(Long), 0),
            evum_pcap:frame(0, ?NS + 2, outbound, binary:part(Long, 0, 61), byte_size(Long), 3),
            evum_pcap:statistics(0, ?NS + 3, 2, 3)
        ],
        ?assertEqual(
            [["1", "1700000000.123456789", "evm1", "14", "14", "0x00000002", ""],
             ["2", "1700000000.123456790", "zwölf", "65014", "65014", "0x00000001", ""],
             ["3", "1700000000.123456791", "evm1", "65014", "61", "0x00000002", "3"]],
            tshark(File, ["frame.number", "frame.time_epoch", "frame.interface_name", "frame.len", "frame.cap_len",
                          "frame.packet_flags", "frame.drop_count"]))
    end}.

tshark(Bytes, Fields) ->
    File = filename:join("/tmp", "evum_pcap_tests." ++ os:getpid()),
    Out = File ++ ".text",
    ok = file:write_file(File, Bytes),
    try
        Said = os:cmd(lists:flatten(["tshark -r ", File, " -T fields -E separator=,", [[" -e ", F] || F <- Fields], " 2>&1 >", Out])),
        {ok, Text} = file:read_file(Out),
        ?assertEqual(nomatch, string:find(Said, "tshark:")),
        [string:split(unicode:characters_to_list(Line), ",", all) || Line <- string:lexemes(Text, "\n")]
    after
        ok = file:delete(File),
        ok = file:delete(Out)
    end.
