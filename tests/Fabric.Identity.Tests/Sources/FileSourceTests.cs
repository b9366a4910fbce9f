using System.Security.Cryptography.X509Certificates;
using Fabric.Identity.Sources;
using Fabric.Testing;

namespace Fabric.Identity.Tests.Sources;

/// <summary>Any CA through files, put into place as Kubernetes does it: a link to a folder is swapped.</summary>
public sealed class FileSourceTests : SourceContract
{
    private protected override Subject Create() => new FileSubject();

    [RequiresFact("chmod")]
    public async Task Key_that_others_may_read_is_refused()
    {
        await using var subject = new FileSubject();
        await subject.StartAsync();
        var key = Path.Combine(subject.Data, "tls.key");
        foreach (var (mode, good) in new[] { ("600", true), ("640", true), ("644", false), ("604", false), ("620", false) })
        {
            Mode.Set(key, mode);
            if (good)
            {
                Assert.NotNull(await subject.Source.NextAsync(null, default));
            }
            else
            {
                var e = await Assert.ThrowsAsync<InvalidDataException>(() => subject.Source.NextAsync(null, default));
                Assert.Contains($"has mode {mode}", e.Message);
                Assert.Contains("chmod 600", e.Message);
            }
        }
    }

    /// <summary>Written in place, one file after the other, with looks in between: nothing is told, and the whole is taken.</summary>
    [Fact]
    public async Task Half_written_set_is_not_taken()
    {
        await using var subject = new FileSubject();
        await subject.StartAsync();
        var time = subject.Mesh.Time;
        var self = new GatewayIdentity(await subject.Source.NextAsync(null, default), time);
        var next = subject.Source.NextAsync(self, default);
        var files = subject.Make();

        foreach (var (name, text) in files)
        {
            // As many bytes at each look; a set is taken only when two looks have seen the same.
            for (var part = 1; part <= 3; part++)
            {
                File.WriteAllText(Path.Combine(subject.Data, name), text[..(text.Length * part / 3)]);
                time.Advance(TimeSpan.FromSeconds(2));
                Assert.False(next.IsCompleted);
            }
        }

        time.Advance(TimeSpan.FromSeconds(4));
        Assert.True(self.Swap(await next.WaitAsync(Wait.Limit)));
        var expected = X509Certificate2.CreateFromPem(files.Single(f => f.Name == "tls.crt").Text);
        Assert.Equal(expected.Thumbprint, self.Certificate.TargetCertificate.Thumbprint);
    }

    [Fact]
    public async Task What_was_repaired_without_a_change_is_good_again()
    {
        await using var subject = new FileSubject();
        await subject.StartAsync();
        var time = subject.Mesh.Time;
        var self = new GatewayIdentity(await subject.Source.NextAsync(null, default), time);
        await subject.LeaveAsync();
        await Assert.ThrowsAnyAsync<IOException>(() => subject.Source.NextAsync(self, default));
        await subject.ReturnAsync();

        var next = subject.Source.NextAsync(self, default);
        time.Advance(TimeSpan.FromSeconds(4));
        Assert.False(self.Swap(await next.WaitAsync(Wait.Limit)));
    }

    [Fact]
    public async Task Large_files_are_not_read()
    {
        await using var subject = new FileSubject();
        await subject.StartAsync();
        File.WriteAllBytes(Path.Combine(subject.Data, "ca.crt"), new byte[(1 << 20) + 1]);
        Assert.Contains("the limit is", (await Assert.ThrowsAsync<InvalidDataException>(() => subject.Source.NextAsync(null, default))).Message);
    }

    private sealed class FileSubject : Subject
    {
        private int _version;

        public FileSubject() => Source = IdentitySources.Open($"files:{Data}", Mesh.Folder["identity"], keep: true,
            (_, _) => throw new IOException("nobody is dialled"), null, Mesh.Time);

        public override IIdentitySource Source { get; }

        /// <summary>The link.</summary>
        public string Data => Mesh.Folder["data"];

        public override Task StartAsync()
        {
            Publish();
            return Task.CompletedTask;
        }

        public override Task AnnounceAsync(GatewayIdentity self)
        {
            if (Directory.Exists(Data))
            {
                // Certificates count in seconds.
                Mesh.Time.Advance(TimeSpan.FromSeconds(1));
                Publish();
            }

            return Task.CompletedTask;
        }

        public override Task LeaveAsync()
        {
            Directory.Move(Data, Data + ".away");
            return Task.CompletedTask;
        }

        public override Task ReturnAsync()
        {
            Directory.Move(Data + ".away", Data);
            return Task.CompletedTask;
        }

        /// <summary>A new set, in the order in which a careless tool might write it.</summary>
        public (string Name, string Text)[] Make()
        {
            var (grant, key) = IssueWithKey();
            using (key)
            {
                return
                [
                    ("tls.key", key.ExportPkcs8PrivateKeyPem() + "\n"), ("tls.crt", Pem(grant.Chain)), ("ca.crt", Pem(grant.Bundle)),
                ];
            }
        }

        private void Publish()
        {
            var folder = Directory.CreateDirectory(Mesh.Folder[$"data.{++_version}"]).FullName;
            foreach (var (name, text) in Make())
            {
                File.WriteAllText(Path.Combine(folder, name), text);
            }

            Mode.Set(Path.Combine(folder, "tls.key"), "600");
            if (Directory.Exists(Data))
            {
                Directory.Delete(Data);
            }

            Directory.CreateSymbolicLink(Data, folder);
        }

        private static string Pem(IEnumerable<byte[]> certificates) => string.Concat(certificates.Select(c =>
            System.Security.Cryptography.PemEncoding.WriteString("CERTIFICATE", c) + "\n"));
    }
}
