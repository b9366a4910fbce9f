using Fabric.Overlay.Keys;
using Fabric.Overlay.Tests.Real;
using Fabric.Testing;

namespace Fabric.Overlay.Tests.Keys;

public sealed class WireGuardKeyTests
{
    // RFC 7748 §6.1.
    [Theory]
    [InlineData("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")]
    [InlineData("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")]
    public void Public_keys_are_those_of_the_rfc(string secret, string expected)
    {
        using var key = WireGuardKey.FromBytes(Convert.FromHexString(secret));
        Assert.Equal(expected, key.PublicKey.ToHex());
    }

    [Fact]
    public void A_private_key_is_clamped_and_never_printed()
    {
        using var key = WireGuardKey.FromBytes(Enumerable.Repeat((byte)0xff, 32).ToArray());
        Assert.Equal(0xf8, key.Secret[0]);
        Assert.Equal(0x7f, key.Secret[31]);
        var base64 = Convert.ToBase64String(key.Secret);
        Assert.DoesNotContain(base64[..20], $"{key} {new DeviceConfig { PrivateKey = key }}");
        Assert.Equal(key, WireGuardKey.FromBase64(base64));
        Assert.NotEqual(WireGuardKey.Generate(), WireGuardKey.Generate());
    }

    [Theory]
    [InlineData("")]
    [InlineData("AAAA")]
    [InlineData("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
    [InlineData("AAAAAAAAAAAAAAAAAAAAAA AAAAAAAAAAAAAAAAAAAA=")]
    [InlineData("????????????????????????????????????????????")]
    public void What_is_no_key_is_refused_and_a_private_one_not_repeated(string text)
    {
        var error = Assert.Throws<OverlayException>(() => WireGuardKey.FromBase64(text));
        Assert.Equal(OverlayStage.Key, error.Stage);
        Assert.True(text.Length < 5 || !error.Message.Contains(text, StringComparison.Ordinal));
        Assert.Contains("44 characters", Assert.Throws<OverlayException>(() => WireGuardPublicKey.FromBase64(text)).Message);
        Assert.Throws<OverlayException>(() => WireGuardPublicKey.FromHex(text));
    }

    [Fact]
    public void The_key_file_is_made_once_for_the_owner_alone()
    {
        var directory = Directory.CreateTempSubdirectory("fabric-key-").FullName;
        try
        {
            var state = Path.Combine(directory, "state");
            var keys = new WireGuardKey[8];
            Parallel.For(0, keys.Length, i => keys[i] = WireGuardKeyFile.LoadOrCreate(state));
            Assert.All(keys, k => Assert.Equal(keys[0], k));
            var path = Assert.Single(Directory.GetFiles(state));
            if (!OperatingSystem.IsWindows())
            {
                Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
                File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead);
                Assert.Contains($"chmod 600 {path}",
                    Assert.Throws<OverlayException>(() => WireGuardKeyFile.LoadOrCreate(state)).Message);
                File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            }

            File.WriteAllText(path, "no key");
            Assert.Throws<OverlayException>(() => WireGuardKeyFile.LoadOrCreate(state));
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    [RequiresFact("wg")]
    public async Task Wg_derives_the_same_public_key()
    {
        using var key = WireGuardKey.Generate();
        Assert.Equal(key.PublicKey.ToBase64(),
            (await Shell.RunAsync($"echo {Convert.ToBase64String(key.Secret)} | wg pubkey")).Trim());
    }
}
