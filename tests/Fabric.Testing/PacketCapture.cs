using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;

namespace Fabric.Testing;

/// <summary>A TCP packet with payload, and when the kernel saw it.</summary>
public readonly record struct CapturedPacket(DateTimeOffset At, IPEndPoint From, IPEndPoint To, int Bytes);

/// <summary>
/// What passes over loopback, by tcpdump: another measurement of what a client sees, by another clock's reader. Needs root and tcpdump.
/// </summary>
public sealed class PacketCapture : IDisposable
{
    private readonly Process _tcpdump;
    private readonly string _file;

    private PacketCapture(Process tcpdump, string file) => (_tcpdump, _file) = (tcpdump, file);

    /// <param name="filter">As tcpdump has it: <c>tcp src port 80</c>.</param>
    public static async Task<PacketCapture> Start(string filter)
    {
        var file = Path.Combine(Path.GetTempPath(), $"fabric-capture-{Guid.NewGuid():N}.pcap");
        var tcpdump = Process.Start(new ProcessStartInfo("tcpdump",
            ["-i", "lo", "-n", "-U", "--immediate-mode", "-B", "16384", "-s", "96", "-Z", "root", "--time-stamp-precision", "nano", "-w", file, filter])
        {
            RedirectStandardError = true,
        })!;
        var said = await tcpdump.StandardError.ReadLineAsync();
        return said?.Contains("listening on", StringComparison.Ordinal) == true
            ? new PacketCapture(tcpdump, file) : throw new InvalidOperationException($"tcpdump: {said}");
    }

    /// <summary>Ends it; all packets with payload until then, in their order.</summary>
    public async Task<IReadOnlyList<CapturedPacket>> Stop()
    {
        using (var kill = Process.Start("kill", [_tcpdump.Id.ToString()]))
        {
            await _tcpdump.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(20));
        }

        return Read(await File.ReadAllBytesAsync(_file));
    }

    /// <summary>The longest time between two packets of one connection in one direction.</summary>
    public static (DateTimeOffset Began, TimeSpan Length) LongestGap(IEnumerable<CapturedPacket> packets) => packets
        .GroupBy(p => (p.From, p.To))
        .SelectMany(c => c.Zip(c.Skip(1), (a, b) => (Began: a.At, Length: b.At - a.At)))
        .MaxBy(g => g.Length);

    public void Dispose()
    {
        if (!_tcpdump.HasExited)
        {
            _tcpdump.Kill();
        }

        _tcpdump.Dispose();
        File.Delete(_file);
    }

    /// <summary>https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-03.html with nanoseconds, of Ethernet frames with IPv4.</summary>
    private static List<CapturedPacket> Read(ReadOnlySpan<byte> pcap)
    {
        if (BinaryPrimitives.ReadUInt32LittleEndian(pcap) != 0xA1B23C4D || BinaryPrimitives.ReadUInt32LittleEndian(pcap[20..]) != 1)
        {
            throw new InvalidDataException("not a capture of Ethernet frames with nanoseconds");
        }

        var packets = new List<CapturedPacket>();
        for (var at = 24; at + 16 <= pcap.Length;)
        {
            var ticks = BinaryPrimitives.ReadUInt32LittleEndian(pcap[at..]) * TimeSpan.TicksPerSecond + BinaryPrimitives.ReadUInt32LittleEndian(pcap[(at + 4)..]) / 100;
            var captured = BinaryPrimitives.ReadInt32LittleEndian(pcap[(at + 8)..]);
            if (at + 16 + captured > pcap.Length)
            {
                // The last one was on its way to the disk.
                break;
            }

            var ip = pcap.Slice(at + 16 + 14, captured - 14);
            var tcp = ip[((ip[0] & 15) * 4)..];
            var payload = BinaryPrimitives.ReadUInt16BigEndian(ip[2..]) - (ip.Length - tcp.Length) - (tcp[12] >> 4) * 4;
            if (payload > 0)
            {
                packets.Add(new CapturedPacket(
                    DateTimeOffset.UnixEpoch.AddTicks(ticks),
                    new IPEndPoint(new IPAddress(ip.Slice(12, 4)), BinaryPrimitives.ReadUInt16BigEndian(tcp)),
                    new IPEndPoint(new IPAddress(ip.Slice(16, 4)), BinaryPrimitives.ReadUInt16BigEndian(tcp[2..])),
                    payload));
            }

            at += 16 + captured;
        }

        return packets;
    }
}
